"""House rules that no linter knows: links that resolve, formats with golden files, words with one meaning, nothing about the machine it was made on.

Each rule is a function from text to findings, so that each has a text that must be found.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.tree import PACKAGES, ROOT, files, pages, python_files, text_of

LINES_MAX = 900
SLEEP_MAX_S = 0.5

# --- links ---

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_QUOTED_FILE = re.compile(r"`((?:docs|runbooks|tests|spec|tools|docker|bench)/[\w./-]+\.\w+)`")


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links and quoted repository paths that lead nowhere."""
    found = []
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for target in _LINK.findall(prose):
        if "://" in target or target.startswith(("#", "mailto:")):
            continue
        path = (ROOT / page).parent / target.partition("#")[0]
        if not path.exists():
            found.append(f"{page}: link to {target}")
    found += [f"{page}: names {target}" for target in _QUOTED_FILE.findall(prose) if not (ROOT / target).exists()]
    return found


def test_links_resolve() -> None:
    assert [line for page in pages() for line in broken_links(page, text_of(page) or "")] == []


def test_a_broken_link_is_found() -> None:
    page = Path("docs/ARCHITECTURE.md")
    assert broken_links(page, "see [that](NOWHERE.md)") != []
    assert broken_links(page, "see `docs/formats/nowhere.md`") != []
    assert broken_links(page, "see [it](GLOSSARY.md#words) and `docs/GLOSSARY.md` and [out](https://example.org/x)") == []


# --- packages ---


def test_every_package_is_in_the_architecture_the_linter_and_the_types() -> None:
    architecture = text_of(Path("docs/ARCHITECTURE.md")) or ""
    project = text_of(Path("pyproject.toml")) or ""
    found = sorted({name.parts[0] for name in python_files() if len(name.parts) > 1 and (ROOT / name.parts[0] / "__init__.py").exists()})
    assert sorted(set(found) - {"tests", "bench", "tools"}) == sorted(PACKAGES)
    for package in PACKAGES:
        assert f"`{package}/`" in architecture, f"docs/ARCHITECTURE.md does not say what {package}/ holds"
        if package != "scrubjay":
            assert f'    "{package}",\n' in project, f"{package} is missing in the layers of pyproject.toml"
            link = ROOT / "scrubjay" / package
            assert link.is_symlink(), f"scrubjay/{package} is no link"
            assert link.readlink() == Path("..") / package
    assert (ROOT / "scrubjay" / "py.typed").exists()


def test_packages_are_imported_below_scrubjay_only() -> None:
    """`import storage` would make a second copy of every class, beside the one that `scrubjay.storage` is."""
    bare = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(sorted(set(PACKAGES) - {'scrubjay'}))})\b(?! import __)", re.MULTILINE)
    assert bare.search("    from storage.log import record")
    assert not bare.search("from scrubjay.storage.log import record")
    assert [str(name) for name in python_files() if bare.search(text_of(name) or "")] == []


# --- words ---

# The words of the design; each is explained once in the glossary, in bold at the start of its line.
WORDS = """table; item; attribute; partition key; sort key; partition; replication group; leader; lease; ballot; storage replica; log replica; LSN;
promised; accepted; chosen; applied; record; stamp; effective time; closed timestamp; segment; manifest; base snapshot; seal; digest; chain;
reference replica; scrub; verdict; restorable window; restore point; RPO; RTO; drill; epoch; incarnation; grant; router; archive; generation;
attestation; hole; overlay; checkpoint; suspect; amnesiac; quarantine; finding"""
_ENTRY = re.compile(r"^- \*\*([^*]+)\*\*", re.MULTILINE)
# Words of other systems for what has a word here.
SYNONYMS = {
    "shard": "partition",
    "sharding": "partitioning",
    "slave": "replica",
    "master": "leader",
    "tombstone": "DELETE effect",
    "oplog": "log",
}


def test_each_word_is_explained_once() -> None:
    entries = [word.strip() for entry in _ENTRY.findall(text_of(Path("docs/GLOSSARY.md")) or "") for word in entry.split(",")]
    wanted = [word.strip() for word in WORDS.replace("\n", " ").split(";")]
    assert [word for word in wanted if entries.count(word) != 1] == []
    assert sorted({word for word in entries if entries.count(word) > 1}) == []


def foreign_words(page: Path, text: str) -> list[str]:
    return [
        f"{page}: {word!r}; our word is {ours!r}" for word, ours in SYNONYMS.items() if re.search(rf"\b{word}s?\b", text, re.IGNORECASE)
    ]


def test_pages_use_our_words() -> None:
    assert [line for page in pages() for line in foreign_words(page, text_of(page) or "")] == []
    assert foreign_words(Path("x.md"), "every shard has a master") != []


# --- formats and golden files ---

_GOLDEN_NAME = re.compile(r"(?:tests/)?golden/v(\d+)/([\w.*/-]+)")


def golden_patterns(text: str) -> list[str]:
    """The golden files that a format page names: `tests/golden/v1/<path>`, a folder or a pattern with `*`."""
    return [f"v{version}/{name.rstrip('/').rstrip('.')}" for version, name in _GOLDEN_NAME.findall(text)]


def golden_files() -> list[Path]:
    return [name.relative_to("tests/golden") for name in files() if name.parts[:2] == ("tests", "golden")]


def _named(name: Path, patterns: list[str]) -> bool:
    return any(name.match(pattern) or any(parent.match(pattern) for parent in name.parents) for pattern in patterns)


def test_every_format_page_has_golden_files_and_every_golden_file_a_page() -> None:
    golden = golden_files()
    named: list[str] = []
    wrong: list[str] = []
    for page in pages():
        if page.parts[:2] != ("docs", "formats"):
            continue
        text = text_of(page) or ""
        patterns = golden_patterns(text)
        named += patterns
        if not patterns and not re.search(r"^No golden files: \S", text, re.MULTILINE):
            wrong.append(f"{page} names no golden file (`tests/golden/v1/…`), nor says why (a line `No golden files: …`)")
        wrong += [
            f"{page} names {pattern}, which is not there" for pattern in patterns if not any(_named(name, [pattern]) for name in golden)
        ]
    wrong += [f"tests/golden/{name} is named by no page of docs/formats" for name in golden if not _named(name, named)]
    assert wrong == []


def test_golden_patterns_are_understood() -> None:
    assert golden_patterns("`tests/golden/v1/wal/frame.bin` and `golden/v1/item/`.") == ["v1/wal/frame.bin", "v1/item"]
    assert _named(Path("v1/item/a.bin"), ["v1/item"])
    assert _named(Path("v1/item/a.bin"), ["v1/item/*.bin"])
    assert not _named(Path("v1/item/a.bin"), ["v1/wal"])


# --- nothing about the machine, no hosts that the project does not own ---

_PLACES = re.compile(r"(?<![\w.{}$])(/(?:work|root|home/\w+|Users/\w+|opt/wheels)(?:/|\b))")
_REGISTRIES = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("registry.npmjs", "org"),
    ("crates", "io"),
    ("proxy.golang", "org"),
    ("docker", "io"),
    ("ghcr", "io"),
    ("quay", "io"),
    ("gcr", "io"),
    ("deb.debian", "org"),
)
"""In two parts, so that this page itself names none."""
_HOSTS = re.compile(rf"\b({'|'.join(re.escape(f'{name}.{end}') for name, end in _REGISTRIES)}|repo1?\.maven\S*)", re.IGNORECASE)


def places(name: Path, text: str) -> list[str]:
    """Paths of somebody's machine and names of registries."""
    return [f"{name}: {match}" for pattern in (_PLACES, _HOSTS) for match in pattern.findall(text)]


def test_no_path_of_a_machine_and_no_registry_host() -> None:
    skip = {Path("tests/docs/test_tidy.py")}
    assert [line for name in files() if name not in skip for line in places(name, text_of(name) or "")] == []


@pytest.mark.parametrize(
    "text", [f"see /{'work'}/main", f"cd /{'root'}/x", "/home/ann/x", f"--index-url https://pypi{'.'}org/x", f"FROM docker{'.'}io/x"]
)
def test_places_are_found(text: str) -> None:
    assert places(Path("x"), text) != []


@pytest.mark.parametrize("text", ["https://host/work", "a/root/b", "file:///path", "${HOME}/x"])
def test_harmless_text_is_left_alone(text: str) -> None:
    assert places(Path("x"), text) == []


# --- code ---


def long_files() -> list[str]:
    found = []
    for name in python_files():
        lines = (text_of(name) or "").count("\n")
        if lines > LINES_MAX:
            found.append(f"{name}: {lines} lines")
    return found


def test_no_file_is_too_long() -> None:
    assert long_files() == []


KEPT_BYTES_MAX = 300_000
BUILT = (".whl", ".tar.gz", ".zip", ".pyc", ".so")


def not_ours(name: Path, size: int) -> bool:
    """Something that was fetched or built here, and added with the rest."""
    return size > KEPT_BYTES_MAX or name.name.endswith(BUILT)


def test_nothing_is_kept_that_was_fetched_or_built() -> None:
    assert [str(name) for name in files() if not_ours(name, (ROOT / name).stat().st_size)] == []
    assert not_ours(Path("a-1.0-py3-none-any.whl"), 1)
    assert not_ours(Path("docs/picture.png"), KEPT_BYTES_MAX + 1)


_PERHAPS_UNFINISHED = re.compile(r"NotImplementedError|except( \w*Exception\b[^:\n]*)?:")


def unfinished(name: Path, text: str) -> list[str]:
    """Marks of work left undone, and errors swallowed in silence."""
    found = [f"{name}: {word}" for word in re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", text)]
    # to take every file apart costs eight seconds, and few have anything to look at
    for node in ast.walk(ast.parse(text)) if _PERHAPS_UNFINISHED.search(text) else ():
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node):
            found.append(f"{name}:{node.lineno}: NotImplementedError")
        if isinstance(node, ast.ExceptHandler) and len(node.body) == 1 and isinstance(node.body[0], ast.Pass):
            caught = "everything" if node.type is None else ast.unparse(node.type)
            if caught in {"everything", "Exception", "BaseException"}:
                found.append(f"{name}:{node.lineno}: swallows {caught}")
    return found


def test_nothing_is_left_undone() -> None:
    skip = {Path("tests/docs/test_tidy.py")}
    assert [line for name in python_files() if name not in skip for line in unfinished(name, text_of(name) or "")] == []


@pytest.mark.parametrize(
    "text", ["# TODO later", "raise NotImplementedError", "try:\n    f()\nexcept Exception:\n    pass", "try:\n    f()\nexcept:\n    pass"]
)
def test_undone_work_is_found(text: str) -> None:
    assert unfinished(Path("x.py"), text) != []


def sleeping(name: Path, text: str) -> list[str]:
    """Calls of a real sleep of `SLEEP_MAX_S` or more."""
    found = []
    for node in ast.walk(ast.parse(text)) if "sleep(" in text else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep", "asyncio.sleep"} and node.args:
            length = node.args[0]
            if isinstance(length, ast.Constant) and isinstance(length.value, int | float) and length.value >= SLEEP_MAX_S:
                found.append(f"{name}:{node.lineno}: sleeps {length.value} s")
    return found


def test_no_test_sleeps() -> None:
    tests = [name for name in python_files() if name.parts[0] == "tests"]
    assert [line for name in tests for line in sleeping(name, text_of(name) or "")] == []
    assert sleeping(Path("x.py"), "import time\ntime.sleep(1)") != []
    assert sleeping(Path("x.py"), "time.sleep(0.05)") == []


def _module(name: Path) -> str:
    dotted = ".".join(name.with_suffix("").parts).removesuffix(".__init__")
    return f"scrubjay.{dotted}" if name.parts[0] in set(PACKAGES) - {"scrubjay"} else dotted


def named_in(text: str) -> set[str]:
    """Modules that a file imports or names as "package.module:function" or `-m package.module`."""
    found: set[str] = set(re.findall(r"\b((?:\w+\.)+\w+)(?=:\w)", text)) | set(re.findall(r"[\"'](\w+(?:\.\w+)+)[\"']", text))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


# Modules that no other module of the packages uses, and why they are there all the same; a test must use them.
STANDING = {
    "scrubjay/dask_worker.py": "what a worker of a fleet loads: dask worker --preload scrubjay.dask_worker",
    "archiver/read/reader.py": "records instead of state: what history and diff read",
    "storage/btree/split_point.py": "where a partition is cut; no partition can be split yet (ADR 0078)",
    "base/wrap/faulty.py": "a store that fails, for the tests of everything above a store",
    "scrubjay/reference_pages.py": "writes the generated pages: python -m scrubjay.reference_pages docs",
}


def test_no_dead_module() -> None:
    """Every module of the packages is used by another file of them, not by its own tests alone. The simulated world is there for tests."""
    users: dict[str, set[Path]] = {}
    for name in python_files():
        for module in named_in(text_of(name) or ""):
            users.setdefault(module, set()).add(name)
    entry = {"scrubjay.cli"} | set(re.findall(r'= "([\w.]+):\w+"', text_of(Path("pyproject.toml")) or ""))
    dead = []
    for name in python_files(packages_only=True):
        if name.name in {"__init__.py", "__main__.py"} or name.parts[0] == "sim" or _module(name) in entry:
            continue
        using = users.get(_module(name), set()) - {name}
        if not (using if str(name) in STANDING else [user for user in using if user.parts[0] in PACKAGES]):
            dead.append(str(name))
    assert dead == []
    assert [name for name in STANDING if not (ROOT / name).exists()] == []


# --- records of decisions ---


def test_decision_records_are_numbered_and_say_their_status() -> None:
    records = [page for page in pages() if page.parts[:2] == ("docs", "adr")]
    numbers = [page.name[:4] for page in records]
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name) for page in records), records
    assert sorted(set(numbers)) == sorted(numbers), "two decision records with one number"
    for page in records:
        text = text_of(page) or ""
        assert text.startswith(f"# {page.name[:4]}"), f"{page} does not begin with its number"
        if page.name[:4] != "0000":
            assert re.search(r"^Status: (accepted|rejected|superseded by \d{4})", text, re.MULTILINE), f"{page} has no status"


# --- dependencies ---


def test_every_dependency_has_its_reason() -> None:
    project = text_of(Path("pyproject.toml")) or ""
    block = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    names = re.findall(r'^    "([A-Za-z0-9_.-]+)', block, re.MULTILINE)
    assert len(names) > 20
    reasons = text_of(Path("docs/DEPENDENCIES.md")) or ""
    assert [name for name in names if f"| `{name}` |" not in reasons] == []
    assert [name for name in re.findall(r"^\| `([^`]+)` \|", reasons, re.MULTILINE) if name not in names] == []


# What the distribution installs under another name than its own.
_IMPORT_NAMES = {"prometheus-client": "prometheus_client", "sqlite-utils": "sqlite_utils"}


def misplaced_imports(reasons: str, imports: list[tuple[str, str]]) -> list[str]:
    """Imports (file, module) outside the places that the dependency table names. An empty place: nowhere in the packages; "anywhere": no bound."""
    allowed: dict[str, list[str]] = {}
    for name, places in re.findall(r"^\| `([^`]+)` \|[^|]*\|[^|]*\|([^|\n]*)\|$", reasons, re.MULTILINE):
        module = _IMPORT_NAMES.get(name, name)
        allowed[module] = [""] if "anywhere" in places else re.findall(r"`([^`]+)`", places)
    allowed["botocore"] = allowed.get("boto3", [])
    return [
        f"{file} imports {module}; docs/DEPENDENCIES.md allows {allowed[module]}"
        for file, module in imports
        if module in allowed and not any(file.startswith(place) for place in allowed[module])
    ]


def test_dependencies_are_imported_where_the_page_says() -> None:
    reasons = text_of(Path("docs/DEPENDENCIES.md")) or ""
    imports = []
    for name in python_files(packages_only=True):
        for node in ast.walk(ast.parse(text_of(name) or "")):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imports += [(str(name), module.partition(".")[0]) for module in modules]
    assert len(imports) > 100
    assert misplaced_imports(reasons, imports) == []
    assert misplaced_imports(reasons, [("storage/node/node.py", "boto3"), ("archiver/plan.py", "lmdb")]) != []


def test_lock_files_name_no_source_and_agree() -> None:
    pins: list[dict[str, str]] = []
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = text_of(Path(lock)) or ""
        assert "://" not in text, f"{lock} names where packages come from"
        pins.append(dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, re.MULTILINE)))
        assert all(f"{name}=={version} \\\n    --hash=sha256:" in text for name, version in pins[-1].items()), (
            f"{lock}: a package without hashes"
        )
    runtime, everything = pins
    assert [name for name, version in runtime.items() if everything.get(name) != version] == []
