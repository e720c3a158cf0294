"""Where an embedded system keeps its database: the data folder, or the file that DATABASE_URL names."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.bootstrap.places import data_folder
from callboard.errors import UnavailableError
from callboard.settings import load_settings


def test_without_a_database_url_everything_is_in_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, data_folder=tmp_path / "data")
    assert data_folder(settings).database == tmp_path / "data" / "callboard.db"


@pytest.mark.parametrize(
    ("url", "path"), [("sqlite:///state/x.db", "state/x.db"), ("sqlite:////var/x.db", "/var/x.db")]
)
def test_a_database_url_names_the_file(tmp_path: Path, url: str, path: str) -> None:
    assert data_folder(load_settings(tmp_path, database_url=url)).database == Path(path)


@pytest.mark.parametrize("url", ["postgresql://u:geheim@db/callboard", "sqlite:///", "nonsense"])
def test_another_database_is_refused_with_the_way_out_and_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(UnavailableError, match="sqlite:///PATH") as refused:
        data_folder(load_settings(tmp_path, database_url=url))
    assert "geheim" not in refused.value.message
