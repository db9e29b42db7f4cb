// A bounded queue from one thread to one other; neither waits, nothing is allocated.
#pragma once

#include <atomic>
#include <cstddef>

namespace realmaster {

template <typename T, std::size_t capacity>
class SpscQueue {
    static_assert((capacity & (capacity - 1)) == 0, "a power of two");

public:
    // False where it is full.
    bool push(const T& item) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head - tail_.load(std::memory_order_acquire) == capacity) {
            return false;
        }
        items_[head % capacity] = item;
        head_.store(head + 1, std::memory_order_release);
        return true;
    }

    // The oldest item, nullptr where there is none; stays until pop.
    const T* front() const noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        return tail == head_.load(std::memory_order_acquire) ? nullptr : &items_[tail % capacity];
    }

    void pop() noexcept {
        tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

private:
    std::atomic<std::size_t> head_{0};
    std::atomic<std::size_t> tail_{0};
    T items_[capacity]{};
};

}  // namespace realmaster
