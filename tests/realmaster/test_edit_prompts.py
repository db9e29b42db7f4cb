from pathlib import Path

import pytest

from capture_bridge.errors import RealMasterError
from realmaster.edit_prompts import BUNDLED, game_prompts


def test_a_game_has_its_own_prompt_and_others_the_default() -> None:
    default = game_prompts("Some Game")
    assert "photograph" in default.edit
    assert "where it is" in default.edit
    for game in ("Grand Theft Auto V", "GTA V", "gta5", "street"):
        prompts = game_prompts(game)
        assert prompts.edit != default.edit
        assert prompts.caption
        assert "where it is" in prompts.edit
    for game in ("", "Street Fighter", "ungtainly"):
        assert game_prompts(game).edit == default.edit


def test_a_file_of_ones_own_counts_and_names_the_game(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[default]\nedit = "{game} {0} as a photo"\ncaption = "c"\n'
        '[[game]]\nmatch = "*Chess*"\nedit = "real wood"\ncaption = "a board"\n'
    )
    assert game_prompts("My {game}", path).edit == "My {game} {0} as a photo"
    assert game_prompts("battle chess 2", path).caption == "a board"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[default]\nedit = 3\ncaption = 'c'", "'edit' must be a text"),
        ("[default]\nedit = ''\ncaption = 'c'", "'edit' must be a text"),
        ("[[game]]\nmatch = 'x'", r"'caption'|'edit'|\[default\]"),
        ("game = 3\n[default]\nedit='e'\ncaption='c'", r"\[\[game\]\]"),
        ("game = [3]", r"\[\[game\]\] 1: 'match'"),
        ("not toml", "is no TOML"),
        ("", r"\[default\]"),
        (f"[default]\nedit='{'e' * 5000}'\ncaption='c'", "1 to 4000 letters"),
        ("#" * (1 << 21), "larger than"),
    ],
)
def test_a_file_that_says_no_prompts_ends_in_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RealMasterError, match=words) as caught:
        game_prompts("x y", path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RealMasterError, match="absent"):
        game_prompts("x", tmp_path / "absent.toml")
    assert BUNDLED.is_file()
