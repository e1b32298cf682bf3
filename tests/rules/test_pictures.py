"""The pictures of the documents are those of their texts."""
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
from tree import TOP, listed

sys.path.insert(0, str(TOP / "tools"))
import picture  # noqa: E402

SOURCES = listed("docs/*.picture")
SVG = "{http://www.w3.org/2000/svg}"


def test_every_picture_is_up_to_date():
    done = subprocess.run([TOP / "tools" / "picture.py", "--check"], text=True, capture_output=True)
    assert done.returncode == 0, f"write it again with tools/picture.py: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_picture_has_every_box_within_its_edges(source):
    boxes, arrows = picture.read(source.read_text())
    root = xml.parse(source.with_suffix(".svg")).getroot()
    width, height = float(root.get("width")), float(root.get("height"))
    said = {element.text for element in root.iter(f"{SVG}text")}
    assert {picture.heading(box) for box in boxes} <= said
    assert {line for box in boxes for line in box.lines} <= said
    assert len(list(root.iter(f"{SVG}line"))) == len(arrows) > 0
    for rectangle in list(root.iter(f"{SVG}rect"))[1:]:
        x, y, w, h = (float(rectangle.get(key)) for key in ("x", "y", "width", "height"))
        assert 0 <= x and x + w <= width and 0 <= y and y + h <= height


@pytest.mark.parametrize("text", ["box round a 0 0 A", "box thread a 0 0 A\narrow a b one c", "line"])
def test_what_is_no_picture_is_refused(text):
    with pytest.raises(picture.Wrong):
        picture.read(text)


def test_a_stale_picture_is_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.picture").write_text("box thread a 0 0 A\n")
    monkeypatch.setattr(picture, "TOP", tmp_path)
    assert picture.main(["--check"]) == 1
    assert picture.main([]) == 0
    assert picture.main(["--check"]) == 0
    (tmp_path / "docs" / "a.picture").write_text("box thread b 0 0 A\n")
    assert picture.main(["--check"]) == 1
