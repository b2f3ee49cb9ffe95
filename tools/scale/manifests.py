"""Validate both deployment files against the tools' own schemas.

Run it in the Ray environment: ``python -m tools.scale.manifests``. It prints what does not fit, one
line each, and ends with 1 then.

Ray Serve brings its schema as pydantic models. KServe's package brings its own as generated classes
with the types of all fields; they are read as text here, because importing them would need 80
packages. Types of Kubernetes itself, such as resources, are not among them and not looked into.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).with_name("deploy")
PLAIN_TYPES = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def check_ray_serve(text: str) -> list[str]:
    """Return what Ray Serve's schema refuses in a config file, and what it would ignore."""
    from pydantic import ValidationError
    from ray.serve.schema import ServeDeploySchema

    content = yaml.safe_load(text)
    try:
        understood = ServeDeploySchema.model_validate(content)
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return _find_ignored(content, understood.model_dump(exclude_unset=True), "")


def _find_ignored(content: Any, understood: Any, path: str) -> list[str]:
    """List the fields that are not understood: Ray Serve leaves out misspelled ones silently."""
    if isinstance(content, dict) and isinstance(understood, dict):
        findings = [f"{path}{name}: Ray Serve has no such field" for name in content
                    if name not in understood]  # fmt: skip
        return findings + [found for name in content if name in understood
                           for found in _find_ignored(content[name], understood[name],
                                                      f"{path}{name}.")]  # fmt: skip
    if isinstance(content, list) and isinstance(understood, list):
        return [found for pair in zip(content, understood, strict=True)
                for found in _find_ignored(*pair, path)]  # fmt: skip
    return []


def read_kserve_schema() -> dict[str, tuple[dict[str, str], set[str]]]:
    """Read for each class of KServe's package the type of each field, and which must be there.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    package = distribution("kserve")
    schema = {}
    for file in package.files or []:
        if re.fullmatch(r"kserve/models/v1(alpha|beta)1_\w+\.py", str(file)):
            tree = ast.parse(Path(str(package.locate_file(file))).read_text(encoding="utf-8"))
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    schema[node.name] = _read_class(node)
    return schema


def _read_class(node: ast.ClassDef) -> tuple[dict[str, str], set[str]]:
    """Find the two tables of a generated class, and the fields whose setter refuses None."""
    tables = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id in ("openapi_types", "attribute_map")
    }  # fmt: skip
    names, types = tables.get("attribute_map", {}), tables.get("openapi_types", {})
    refused = re.findall(r"Invalid value for `(\w+)`, must not be `None`", ast.unparse(node))
    return {names[each]: types[each] for each in types}, {names[each] for each in refused}


def check_kserve(text: str) -> list[str]:
    """Return what KServe's schema refuses in a manifest of one or more InferenceServices."""
    schema = read_kserve_schema()
    findings = []
    for document in yaml.safe_load_all(text):
        kind = (document.get("apiVersion"), document.get("kind"))
        if kind != ("serving.kserve.io/v1beta1", "InferenceService"):
            findings.append(f"expected an InferenceService of v1beta1, got {kind}")
        findings += _check_value(document, "V1beta1InferenceService", schema, "")
    return findings


def _check_value(value: Any, kind: str, schema: Mapping[str, Any], path: str) -> list[str]:
    """Compare a value with its type: a class of the package, a list, a dict or a plain type."""
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{path}: expected a list, got {value!r}"]
        return [found for number, each in enumerate(value)
                for found in _check_value(each, match[1], schema, f"{path}[{number}]")]  # fmt: skip
    if kind in schema:
        return _check_fields(value, kind, schema, path)
    expected = PLAIN_TYPES.get(kind, object)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        return [f"{path}: expected {kind}, got {value!r}"]
    return []


def _check_fields(value: Any, kind: str, schema: Mapping[str, Any], path: str) -> list[str]:
    fields, needed = schema[kind]
    if not isinstance(value, dict):
        return [f"{path}: expected the fields of {kind}, got {value!r}"]
    findings = [f"{path}: {name} is missing" for name in sorted(needed - value.keys())]
    for name, each in value.items():
        here = f"{path}.{name}".lstrip(".")
        if name not in fields:
            findings.append(f"{here}: {kind} has no such field")
        else:
            findings += _check_value(each, fields[name], schema, here)
    return findings


def main() -> int:
    """Validate both files."""
    checks = {"ray_serve.yaml": check_ray_serve, "kserve.yaml": check_kserve}
    findings = [f"{name}: {finding}" for name, check in checks.items()
                for finding in check((DEPLOY / name).read_text(encoding="utf-8"))]  # fmt: skip
    print("\n".join(findings) or "both files fit their schemas")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
