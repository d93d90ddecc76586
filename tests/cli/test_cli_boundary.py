"""What goes in and out of the command line, and what the machine refuses, is never called a bug."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_runs import SCRIPT, environment, inside, written
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_repos import FACTS

from editvc.cli.boundary import failure_of
from editvc.core.fact_files.fact_file_error import FactFileError
from editvc.porcelain import status

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file() or not Path("/dev/full").exists(), reason="needs the script and /dev/full"
)

READING = ("log", "show", "status", "diff", "grep", "query", "branch", "tag", "config", "stats",
           "fsck", "methods", "lint", "convert", "arch", "base")  # fmt: skip
"""The verbs that read, and load no model of the repository."""
CODES = {0, 1, 2, 3}
WORDS = st.one_of(
    st.sampled_from([b"HEAD", b"base", b"1", b"0..1", b"HEAD~1", b"show", b"--oneline", b"-n", b"2",
                     b"user.author", b"SELECT 1", b"SELECT cast(x'ff' as text), 1e999", b"-", b"--",
                     b"facts.jsonl", b"..", b"memit", b"France", b"--all", b"caf\xe9"]),
    st.sampled_from(["می\u200cخواهم", "Fra\u200bnce", "\ufeffHEAD", "\x1b[31m"]).map(str.encode),
    st.text(max_size=12).map(lambda text: text.replace("\0", "").encode("utf-8", "surrogatepass")),
    st.binary(max_size=12).map(lambda data: data.replace(b"\0", b"")),
)  # fmt: skip
STREAMS = ("pipe", "closed", "full")


def run(
    arguments: Sequence[bytes],
    cwd: Path,
    *,
    stdin: str = "empty",
    stdout: str = "pipe",
    gone: bool = False,
    **more: str,
) -> tuple[int, bytes, bytes]:
    """The script with its streams as told, in a folder that may be gone meanwhile."""
    words = [os.fsencode(SCRIPT), *arguments]
    folder = cwd / "gone" if gone else cwd
    folder.mkdir(exist_ok=True)
    redirections = {"pipe": "", "closed": ">&-", "full": ">/dev/full"}[stdout]
    redirections += {"empty": " </dev/null", "closed": " <&-"}[stdin]
    leave = 'rmdir "$PWD"; ' if gone else ""
    done = subprocess.run(
        ["sh", "-c", f'{leave}exec "$@" {redirections}', "sh", *words],
        cwd=folder, env=environment(cwd, **more), capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def place(here: Path) -> Path:
    """A repository with two commits, and a file of facts."""
    assert inside("commit", written(here / "facts.jsonl", FACTS[:1])).code == 0
    assert inside("commit", written(here / "more.jsonl", FACTS[1:2])).code == 0
    return here


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    verb=st.sampled_from(READING),
    words=st.lists(WORDS, max_size=3),
    as_json=st.booleans(),
    stdin=st.sampled_from(["empty", "closed"]),
    stdout=st.sampled_from(STREAMS),
    gone=st.booleans(),
    language=st.sampled_from(["C", "C.UTF-8", "POSIX", "de_DE.ISO-8859-1", "xx_YY.nothing", ""]),
    encoding=st.sampled_from(["", "ascii", "latin-1", "utf-8", "utf-16", "ascii:strict"]),
    utf8=st.sampled_from(["0", "1"]),
)
@example("show", [b"caf\xe9"], True, "empty", "pipe", False, "C", "ascii", "0")
@example("grep", ["é→".encode()], True, "empty", "pipe", False, "C", "latin-1", "0")
@example("lint", [b"-"], True, "closed", "pipe", False, "C.UTF-8", "", "1")
@example("status", [], True, "empty", "pipe", True, "C.UTF-8", "", "1")
@example("status", [], True, "empty", "closed", False, "C.UTF-8", "", "1")
@example("log", [], False, "empty", "full", False, "C.UTF-8", "", "1")
@example(
    "query", [b"SELECT 9e999, cast(x'ff' as text)"], True, "empty", "pipe", False, "C", "", "1"
)
def test_reading_never_ends_in_a_bug(
    place: Path,
    verb: str,
    words: list[bytes],
    as_json: bool,
    stdin: str,
    stdout: str,
    gone: bool,
    language: str,
    encoding: str,
    utf8: str,
) -> None:
    arguments = [verb.encode(), *([b"--json"] if as_json else []), *words]
    more = {"LANG": language, "LC_ALL": language, "PYTHONUTF8": utf8, "PYTHONIOENCODING": encoding}
    more["HF_HUB_OFFLINE"] = "1"  # a word may be the name of a model
    code, out, err = run(arguments, place, stdin=stdin, stdout=stdout, gone=gone, **more)
    told = (arguments, more, stdin, stdout, code, out, err)
    assert code in CODES, told
    assert b"Traceback" not in err and b"this is a bug" not in err, told
    if as_json and stdout == "pipe" and b"--help" not in words and b"-h" not in words:
        json.loads(out.decode("utf-16" if encoding == "utf-16" else "utf-8")), told
    if stdout != "pipe":
        assert out == b"", told


@pytest.mark.parametrize("stdout", ["closed", "full"])
@pytest.mark.parametrize("words", [["ask", "x"], ["eval"], ["health"], ["eval", "--json"]])
def test_verbs_that_load_the_model_do_not_either(
    place: Path, words: list[str], stdout: str
) -> None:
    code, out, err = run([word.encode() for word in words], place, stdout=stdout)
    assert (code, out) == (1, b"")
    assert b"standard output cannot be written" in err and b"Traceback" not in err


@pytest.mark.parametrize(
    ("words", "code"),
    [(["ask", "Zürich — 東京 is", "-n", "3"], 0), (["ask", "x", "--at", "Zürich"], 1),
     (["trace", "--prompt", "é", "--subject", "東"], 1), (["eval", "--at", "\u202e"], 2),
     (["health"], 0)],
)  # fmt: skip
def test_nor_do_they_in_a_terminal_of_ascii(place: Path, words: list[str], code: int) -> None:
    more = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    arguments = [word.encode() for word in [words[0], "--json", *words[1:]]]
    ended, out, err = run(arguments, place, **more)
    assert ended == code and b"Traceback" not in err, err
    assert isinstance(json.loads(out.decode("ascii")), dict)
    ended, out, err = run([words[0].encode(), b"--json", b"x"], place, gone=True)
    assert ended in CODES and b"bug" not in err and isinstance(json.loads(out), dict)


@pytest.mark.parametrize("words", [["revert", "HEAD"], ["revert", "--json", "HEAD"]])
def test_after_a_write_what_was_written_is_said(place: Path, words: list[str]) -> None:
    """It ended with 70 and "the repository is as it was before the command", which was false."""
    code, _, err = run([word.encode() for word in words], place, stdout="full")
    assert code == 1 and b"as it was" not in err
    assert b"What the command has done stands" in err
    commit = inside("status", "--json").json
    assert commit["number"] == 3 and commit["commit"][:10].encode() in err


def test_the_null_device_stands_in_for_what_is_closed(place: Path) -> None:
    """Else the index would be opened as standard output, and printed over."""
    done = subprocess.run(
        ["sh", "-c", f'"{SCRIPT}" branch new >&- 2>&- <&-; "{SCRIPT}" fsck'],
        cwd=place, env=environment(place), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and b"clean" in done.stdout


def test_arguments_are_read_as_utf8_in_any_locale(place: Path) -> None:
    more = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, out, err = run([b"grep", b"--json", "Zürich".encode()], place, **more)
    assert code in CODES and b"not UTF-8" not in err, err
    code, out, err = run([b"grep", b"--json", b"Z\xfcrich"], place, **more)
    assert code == 2 and b"argument 3 is not UTF-8" in err
    assert json.loads(out)["error"]["code"] == 2


@pytest.mark.parametrize(
    "words",
    [["grep", "Fra\u200bnce"], ["ask", "The capital of France\ufeff is"], ["show", "HE\u202eAD"],
     ["commit", "facts.jsonl", "-m", "a\0b"], ["commit", "facts.jsonl", "--author=A\u200b <a@b>"],
     ["branch", "ma\u200bin"], ["config", "user.author", "\u2066Ada"],
     ["query", "SELECT '\u200d'"]],
)  # fmt: skip
def test_arguments_hide_no_character(place: Path, words: list[str]) -> None:
    ran = inside(*words, "--json")
    assert ran.code == 2 and "cannot be seen: U+" in ran.err, ran.err
    assert json.loads(ran.out)["error"]["code"] == 2
    assert inside("status", "--json").json["number"] == 2 and inside("branch").out.count("\n") == 1


def test_arguments_that_need_such_characters_are_read(place: Path) -> None:
    assert inside("branch", "می\u200cخواهم").code == 0
    assert inside("grep", "\U0001f469\u200d\U0001f680").code == 1, "no match, and no mistake"
    hidden = written(place / "fac\u200bts.jsonl", FACTS[2:3])
    assert inside("lint", hidden.name).code == 0, "a file that is there has the name that it has"


def test_an_author_from_outside_hides_none_either(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("EDITVC_AUTHOR", "Ada\u200b <a@b>")
        ran = inside("revert", "HEAD")
    assert ran.code == 1 and "the author holds a character that cannot be seen" in ran.err


def test_a_file_whose_name_is_not_utf8_is_read(place: Path) -> None:
    name = os.fsencode(place) + b"/caf\xe9.jsonl"
    with open(name, "wb") as file:
        file.write(b'{"subject": "France"}\n')
    code, out, _ = run([b"lint", b"--json", name], place)
    assert code == 1 and json.loads(out)["problems"][0]["file"].endswith("caf\udce9.jsonl")
    code, out, err = run([b"commit", b"--json", name], place)
    assert code == 1 and json.loads(out)["error"]["place"].endswith("caf\udce9.jsonl:1")
    assert b"caf\\udce9.jsonl:1" in err


@pytest.mark.parametrize(
    ("target", "told"), [("/proc/none/x", "/proc/none"), ("facts.jsonl/out", "facts.jsonl")]
)
def test_a_target_that_cannot_be_made_is_the_targets_fault(
    place: Path, target: str, told: str
) -> None:
    for words in (["export", "base", "--to", target], ["export", "--json", "base", "--to", target]):
        ran = inside(*words)
        assert ran.code == 1 and told in ran.err and "bug" not in ran.err
    assert told in json.loads(ran.out)["error"]["place"]


def test_an_author_that_is_no_text(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "zo\udceb")
    with monkeypatch.context() as patch:
        patch.setenv("EDITVC_AUTHOR", "Zo\udceb")
        ran = inside("revert", "HEAD")
    assert ran.code == 2 and "EDITVC_AUTHOR is not UTF-8" in ran.err
    assert inside("config", "user.author", "").code == 0
    assert inside("revert", "HEAD").code == 0
    assert inside("log", "-n", "1", "--json").json[0]["author"] == "zo\ufffd <>"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "/x/y: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", b"/x\xff"), 1, "/x\udcff: Permission"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "Too many open files"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "not UTF-8"),
        (MemoryError(), 1, "too little memory"),
        (RuntimeError("unheard of"), 70, "this is a bug in editvc"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_whose_trouble_it_is(error: BaseException, code: int, told: str) -> None:
    failure = failure_of(error)
    assert failure.code == code and told in failure.message
    assert "as it was before" not in failure.message + failure.hint


def test_an_error_under_json_is_one_object(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """stdout was empty."""
    ran = inside("show", "nothing", "--json")
    assert ran.code == 1
    told = json.loads(ran.out)["error"]
    assert told.keys() == {"code", "class", "message", "hint", "place", "details"}
    assert told["class"] == "UnknownRevision"
    assert told["code"] == 1 and told["message"] in ran.err and told["hint"] in ran.err
    (place / "bad.jsonl").write_text('{"subject": "x"}\n')
    ran = inside("commit", place / "bad.jsonl", "--json")
    assert json.loads(ran.out)["error"]["place"] == f"{place / 'bad.jsonl'}:1"
    for words, code in [(["log", "--json", "--frob"], 2), (["frob", "--json"], 2)]:
        ran = inside(*words)
        assert ran.code == code and json.loads(ran.out)["error"]["code"] == code
    assert inside("show", "nothing").out == "", "without --json, stdout has data alone"

    def broken(*_: object) -> None:
        raise RuntimeError("unheard of")

    monkeypatch.setattr(status, "status", broken)
    ran = inside("status", "--json")
    assert ran.code == 70 and json.loads(ran.out)["error"]["code"] == 70


def test_numbers_that_are_none_are_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    from editvc.cli.output import emit_json

    emit_json({"a": [float("nan"), 1.5], "b": float("inf"), "c": "ü"})
    assert json.loads(capsys.readouterr().out, parse_constant=sys.exit) == {
        "a": [None, 1.5], "b": None, "c": "ü",
    }  # fmt: skip


def test_place_has_file_and_line() -> None:
    assert failure_of(FactFileError("f.json", "is odd", line=3)).place == "f.json:3"
    assert failure_of(FactFileError("f.json", "is odd")).place == "f.json"
