# common.py - what the checks of this folder share: the files, C without its comments, the verdict.
#
# A check is a program here with a function check(files) that takes {path: text} and returns a list
# of complaints, and with examples: PLANTED, of which it must complain one by one, and CLEAN, of
# which it must not. Each run tries the examples first, so a check that went blind fails.
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]

_BLANKED = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code(text, strings=False):
    """C with comments (and strings, unless asked for) as spaces: every offset stays."""
    def blank(match):
        if strings and match[0][0] in "\"'":
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])
    return _BLANKED.sub(blank, text)


def place(path, text, offset):
    return f"{path}:{text.count(chr(10), 0, offset) + 1}"


def calls(text, names):
    """(name, start, end) of each call of one of names; members (x.open) are not calls of it."""
    bare = code(text)
    for match in re.finditer(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(", bare):
        depth, end = 1, match.end()
        while depth and end < len(bare):
            depth += {"(": 1, ")": -1}.get(bare[end], 0)
            end += 1
        yield match[1], match.start(), end


def tree(*endings):
    """Every text file of the checkout that is not ignored by git: {path: text}."""
    git = ["git", "-c", f"safe.directory={TOP}", "-C", str(TOP)]
    try:
        listed = subprocess.run(git + ["ls-files", "-coz", "--exclude-standard"],
                                capture_output=True, check=True).stdout
        names = listed.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # no git here, or an unpacked archive
        names = [str(p.relative_to(TOP)) for p in TOP.rglob("*")]
        names = [n for n in names if not n.startswith(("build", ".git/"))]
    files = {}
    for name in sorted(filter(None, names)):
        path = TOP / name
        if not name.endswith(endings or "") or not path.is_file() or path.is_symlink():
            continue
        data = path.read_bytes()
        if b"\0" not in data:
            files[name] = data.decode(errors="replace")
    return files


def orchestrator():
    return {n: t for n, t in tree(".c", ".h").items() if n.startswith("orchestrator/")}


def main(check, planted, clean, files):
    """Tries the examples, then the tree; exits with 1 when there is something to mend."""
    for path, text in planted:
        if not check({path: text}):
            sys.exit(f"the check is blind: it finds nothing wrong in {path}:\n{text}")
    for path, text in clean:
        wrong = check({path: text})
        if wrong:
            sys.exit(f"the check sees ghosts in {path}:\n{text}\n" + "\n".join(wrong))
    wrong = check(files)
    print("\n".join(wrong) or f"{len(files)} files, nothing to mend")
    sys.exit(1 if wrong else 0)
