// A COM reference that releases itself. Only what is used here.
#pragma once

namespace realmaster {

template <typename T>
class Com {
public:
    Com() noexcept = default;
    ~Com() {
        reset();
    }
    Com(const Com& other) noexcept : object_(other.object_) {
        if (object_ != nullptr) {
            object_->AddRef();
        }
    }
    Com& operator=(const Com& other) noexcept {
        if (this != &other) {
            reset();
            object_ = other.object_;
            if (object_ != nullptr) {
                object_->AddRef();
            }
        }
        return *this;
    }

    // For functions that give a reference out; lets go of the one held.
    T** out() noexcept {
        reset();
        return &object_;
    }
    void** out_void() noexcept {
        return reinterpret_cast<void**>(out());
    }
    void reset() noexcept {
        if (object_ != nullptr) {
            T* object = object_;
            object_ = nullptr;
            object->Release();
        }
    }
    // Takes a reference of its own.
    void hold(T* object) noexcept {
        if (object != nullptr) {
            object->AddRef();
        }
        reset();
        object_ = object;
    }
    [[nodiscard]] T* get() const noexcept {
        return object_;
    }
    T* operator->() const noexcept {
        return object_;
    }
    explicit operator bool() const noexcept {
        return object_ != nullptr;
    }

private:
    T* object_ = nullptr;
};

}  // namespace realmaster
