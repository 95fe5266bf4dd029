"""The docs and trackr.js say the same, and the lock of the front end names no address."""

import gzip
import json
import re

from .collector import BUILT, FRONTEND, SOURCE

DOCS = (FRONTEND.parent / "docs" / "snippet.md").read_text()
CALLS = (FRONTEND.parent / "docs" / "javascript.md").read_text()
CODE = SOURCE.read_text()


def rows(heading: str, docs: str = DOCS) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = docs.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_option_is_documented_with_its_default() -> None:
    block = re.search(r"const \{\s+property,(.*?)\} = given;", CODE, re.DOTALL)
    assert block
    code = dict(re.findall(r"(\w+) = (.+?),\n", block[1]))
    docs = {row[0].strip("`"): row[2].strip("`") for row in rows("Options")}
    in_more = {"trackrClass"}
    assert set(docs) == set(code) - {"host"} | in_more
    elsewhere = {"account", "serverUrl", *in_more}  # they have no fixed default in the core
    assert {name: docs[name] for name in docs if name not in elsewhere} == {
        name: code[name] for name in docs if name not in elsewhere
    }


def test_every_attribute_is_the_one_that_browsers_make_of_the_option() -> None:
    short = {"account": "data-property", "serverUrl": "data-host"}
    for name, attribute, *_ in ([cell.strip("`") for cell in row] for row in rows("Options")):
        kebab = re.sub(r"[A-Z]", lambda letter: "-" + letter[0].lower(), name)
        assert attribute == short.get(name, f"data-{kebab}")


def test_every_call_is_documented() -> None:
    listed = re.search(r"const methods = \{(.*?)\n    \};", CODE, re.DOTALL)
    assert listed
    table = rows("What your page can call", CALLS)
    documented = [row[0].strip("`").partition("(")[0] for row in table]
    assert documented == re.findall(r"^      (\w+)", listed[1], re.MULTILINE)


def test_the_core_and_both_files_are_as_small_as_promised() -> None:
    assert BUILT.exists(), "frontend/dist is missing: run `npm ci && npm run build` in frontend/"
    core, more = (
        len(gzip.compress((BUILT.parent / name).read_bytes(), 9))
        for name in ("trackr.js", "more.js")
    )
    assert core <= 3_072
    assert core + more <= 6_144
    said = re.search(r"Its core is ([\d.]+) kB gzipped", DOCS)
    assert said
    assert abs(float(said[1]) * 1000 - core) < 100


def test_no_dangerous_calls() -> None:
    assert not re.search(r"\beval\b|innerHTML|document\.write|new Function|insertAdjacent", CODE)


def test_the_lock_names_no_address_and_is_complete() -> None:
    text = (FRONTEND / "package-lock.json").read_text()
    assert "://" not in text, "remove resolved and funding addresses from package-lock.json"
    packages = json.loads(text)["packages"]
    wanted = json.loads((FRONTEND / "package.json").read_text())
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"pin {name} to one version"
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all(each.get("integrity") for path, each in packages.items() if path)
    optional = {name for each in packages.values() for name in each.get("optionalDependencies", {})}
    assert all(f"node_modules/{name}" in packages for name in optional)
