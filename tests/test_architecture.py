"""The packages are the layers: imports go one way, and rules neither wait nor send."""

import ast
import sys
from pathlib import Path

import pytest

import diga_async

PACKAGE = Path(diga_async.__file__).parent

#: From the top down: a layer imports from those after it only.
LAYERS = (
    "_cli pytest_plugin",
    "__init__",
    "_client",
    "_phones",
    "_runs",
    "_calls",
    "_lifecycle",
    "_runtime",
    "_bulk",
    "_engine",
    "_transport _flow",
    "_api",
    "_models",
    "_version",
)
#: These use the library as its users do, so the layers start again above them.
OUTSIDE = {"_cli", "pytest_plugin"}
#: Imports nothing of the others.
SANDBOX = "sandbox"
#: Only hands over to one other module.
ENTRIES = {"__main__": {"_cli"}, "_pytest_asyncio": set()}

#: Layers of rules: no I/O, no clock, no randomness.
PURE = {"_models", "_api", "_flow"}
#: Modules of rules in other layers.
PURE_MODULES = {"_phones/changes.py", "_phones/page_plan.py", "_phones/paging.py"}
IMPURE_MODULES = {"aiohttp", "asyncio", "logging", "os", "random", "socket", "time"}
#: The libraries that a layer may use.
LIBRARIES = {
    "_models": {"attrs", "cattrs", "pydantic_core"},
    "_api": {"attrs", "yarl"},
    "_transport": {"aiohttp", "attrs"},
    "_runtime": {"aiohttp", "attrs"},
    "_client": {"aiohttp"},
}
MOST_MODULES_AT_THE_TOP = 12
MOST_CODE_LINES = 350
MOST_LINES_OF_A_BODY = 40

RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}
FILES = sorted(PACKAGE.rglob("*.py"))


def layer_of(module):
    """Return the package or top module that a dotted name below ours is in."""
    name = module.removeprefix("diga_async").lstrip(".").split(".")[0]
    known = name in RANK or name == SANDBOX or name in ENTRIES
    return name if known else "__init__"


def layer_of_file(path):
    return layer_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))


def imports_of(path):
    """Return every module that *path* imports, for types as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layers_imported(path):
    return {layer_of(n) for n in imports_of(path) if n.startswith("diga_async")}


def libraries_of(path):
    return {name.split(".")[0] for name in imports_of(path)} - {"diga_async"}


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


every_file = pytest.mark.parametrize("path", FILES, ids=name_of)


@every_file
def test_imports_go_down(path):
    own, imported = layer_of_file(path), layers_imported(path)
    if own in ENTRIES:
        assert imported - {"__init__", own} <= ENTRIES[own]
    elif own == SANDBOX:
        assert imported - {"__init__"} <= {SANDBOX}
    elif own in OUTSIDE:
        assert imported <= {*RANK, SANDBOX} - (OUTSIDE - {own})
    elif own == "__init__":
        assert imported & (OUTSIDE | {SANDBOX}) == set()
    else:
        # `from diga_async import X` would be an import from the top.
        assert "__init__" not in imported - {own}
        below = {name for name, rank in RANK.items() if rank > RANK[own]}
        assert imported <= below | {own}


def module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_in(name, package):
    return f"{name}.".startswith(f"{package}.")


def test_no_module_imports_itself_through_others():
    modules = {module_of(path): path for path in FILES}
    graph = {
        # A module's own packages are entered in any case.
        name: {n for n in imports_of(path) if n in modules and not is_in(name, n)}
        for name, path in modules.items()
        if name != "diga_async"  # resolves names on first use, and is above all
    }
    while leaves := {name for name, uses in graph.items() if not uses & graph.keys()}:
        for name in leaves:
            del graph[name]
    assert graph == {}


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if layer_of_file(p) in PURE or name_of(p) in PURE_MODULES],
    ids=name_of,
)
def test_rules_neither_wait_nor_look_around(path):
    assert libraries_of(path) & IMPURE_MODULES == set()


@pytest.mark.parametrize(
    "path", [p for p in FILES if layer_of_file(p) in RANK], ids=name_of
)
def test_a_layer_uses_few_libraries(path):
    own = layer_of_file(path)
    if own in OUTSIDE:
        pytest.skip("has its own dependencies")
    allowed = LIBRARIES.get(own, {"attrs"})
    assert libraries_of(path) - set(sys.stdlib_module_names) <= allowed


def test_the_top_has_few_modules():
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_MODULES_AT_THE_TOP


def code_lines(source, tree):
    """Count lines that are neither blank, comment nor docstring."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = set()
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False):
            first = node.body[0]
            prose.update(range(first.lineno, first.end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(
        number not in prose and bool(line.strip()) and not line.lstrip().startswith("#")
        for number, line in lines
    )


@every_file
def test_a_module_and_its_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert code_lines(source, tree) <= MOST_CODE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                lines = body[-1].end_lineno - body[0].lineno + 1
                assert lines <= MOST_LINES_OF_A_BODY, node.name
