"""Draw the two circled digits of Binary Alchemy into src/assets/circled-digits.woff2.

Run by hand when the drawing changes; needs fonttools and brotli, which the web build does not.
"""

from __future__ import annotations

from math import cos, pi, sin
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

OUT = Path(__file__).resolve().parent.parent / "src" / "assets" / "circled-digits.woff2"
WIDTH, CENTRE, RADIUS, STROKE = 1000, (500, 380), 430, 62


def ellipse(pen: TTGlyphPen, rx: float, ry: float, clockwise: bool) -> None:
    """Add an ellipse around the centre as 16 quadratic arcs."""
    count = 16
    turn = -1 if clockwise else 1
    step = 2 * pi / count
    reach = 1 / cos(step / 2)
    points = []
    for i in range(count):
        on, off = turn * step * i, turn * step * (i + 0.5)
        points.append(((CENTRE[0] + rx * cos(on), CENTRE[1] + ry * sin(on)),
                       (CENTRE[0] + rx * reach * cos(off), CENTRE[1] + ry * reach * sin(off))))
    pen.moveTo(points[0][0])
    for i, (_, off) in enumerate(points):
        pen.qCurveTo(off, points[(i + 1) % count][0])
    pen.closePath()


def ring(pen: TTGlyphPen) -> None:
    ellipse(pen, RADIUS, RADIUS, clockwise=True)
    ellipse(pen, RADIUS - STROKE, RADIUS - STROKE, clockwise=False)


def zero() -> TTGlyphPen:
    pen = TTGlyphPen(None)
    ring(pen)
    ellipse(pen, 155, 245, clockwise=True)
    ellipse(pen, 85, 175, clockwise=False)
    return pen


def one() -> TTGlyphPen:
    pen = TTGlyphPen(None)
    ring(pen)
    stem = [(470, 135), (470, 505), (365, 440), (365, 530), (490, 620), (555, 620), (555, 135)]
    pen.moveTo(stem[0])
    for point in stem[1:]:
        pen.lineTo(point)
    pen.closePath()
    return pen


def main() -> None:
    """Write the font."""
    names = [".notdef", "circledzero", "circledone"]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0x24EA: "circledzero", 0x2460: "circledone"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "circledzero": zero().glyph(), "circledone": one().glyph()})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (WIDTH, 0)))
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": "Circled Digits", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=880, sTypoDescender=-120, usWinAscent=880, usWinDescent=120)
    builder.setupPost()
    builder.font.flavor = "woff2"
    OUT.parent.mkdir(exist_ok=True)
    builder.save(OUT)


if __name__ == "__main__":
    main()
