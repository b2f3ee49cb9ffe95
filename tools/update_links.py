"""Write the repository's address to the links of the README: ``make links``.

The address is set in one place: ``repository`` in pyproject.toml, as ``owner/name``.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = r"[A-Za-z0-9][\w.-]*"
LINKS = {
    rf"(?<=https://mybinder\.org/v2/gh/){NAME}/{NAME}(?=/HEAD\?)": "{owner}/{name}",
    rf"(?<=git clone https://github\.com/){NAME}/{NAME}\ncd {NAME}$": "{owner}/{name}\ncd {name}",
}
"""What names the repository in the README, and how it is written."""


def read_repository(pyproject: str) -> str:
    """Return the setting, ``owner/name``.

    Raises:
        ValueError: the setting has another form.
    """
    repository = tomllib.loads(pyproject)["tool"]["keras-deployment"]["repository"]
    if not re.fullmatch(f"{NAME}/{NAME}", repository):
        raise ValueError(f"repository in pyproject.toml: expected owner/name, got {repository!r}")
    return repository


def update_links(readme: str, repository: str) -> str:
    """Return the README with the links of a repository, ``owner/name``.

    Raises:
        ValueError: a link is missing from the README.
    """
    owner, name = repository.split("/")
    for pattern, form in LINKS.items():
        readme, count = re.subn(
            pattern, form.format(owner=owner, name=name), readme, flags=re.MULTILINE
        )
        if not count:
            raise ValueError(f"README.md has no link of the form {pattern}")
    return readme


def main(root: Path = ROOT) -> None:
    """Write the links of the repository that pyproject.toml names."""
    repository = read_repository((root / "pyproject.toml").read_text(encoding="utf-8"))
    readme = root / "README.md"
    text = update_links(readme.read_text(encoding="utf-8"), repository)
    readme.write_text(text, encoding="utf-8")
    print(f"README.md: the links name {repository}")


if __name__ == "__main__":
    main()
