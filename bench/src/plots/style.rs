//! What all pictures share: readable at 700 pixels, and without telling colours apart.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::element::{DynElement, IntoDynElement};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Picture;
use crate::contenders::{CAREFUL_CLIENT, CLIENT, MODULE, SCRIPT_A, SCRIPT_B};

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The base line's row among the contenders.
pub const NO_CLEANUP: &str = "no cleanup";

pub const WIDTH: u32 = 700;
/// Height of title and subtitle.
pub const HEADING: u32 = 62;
pub const MARGIN: i32 = 14;
pub const INK: RGBColor = RGBColor(34, 34, 34);
pub const FAINT: RGBColor = RGBColor(90, 90, 90);
pub const GRID: RGBColor = RGBColor(224, 224, 224);
/// Font size in pixels.
pub const TEXT: f64 = 14.0;

/// Values on an axis of times, in milliseconds.
const TIMES: [(f64, &str); 13] = [
    (0.001, "1 µs"),
    (0.01, "10 µs"),
    (0.1, "100 µs"),
    (1.0, "1 ms"),
    (10.0, "10 ms"),
    (100.0, "100 ms"),
    (1_000.0, "1 s"),
    (10_000.0, "10 s"),
    (60_000.0, "1 min"),
    (600_000.0, "10 min"),
    (3_600_000.0, "1 h"),
    (36_000_000.0, "10 h"),
    (86_400_000.0, "1 day"),
];

/// Colours of Okabe and Ito, which colour-blind readers can tell apart. A contender has one colour in all pictures.
pub fn color(contender: &str) -> RGBColor {
    match contender {
        SCRIPT_A => RGBColor(230, 159, 0),
        SCRIPT_B => RGBColor(213, 94, 0),
        CLIENT => RGBColor(0, 114, 178),
        CAREFUL_CLIENT => RGBColor(204, 121, 167),
        MODULE => RGBColor(0, 158, 115),
        _ => FAINT,
    }
}

/// A second line below a contender's name, for pages without a table of contenders.
pub fn about(contender: &str) -> &'static str {
    match contender {
        SCRIPT_B => "Lua, one walk",
        CLIENT => "Rust, large steps",
        CAREFUL_CLIENT => "Rust, small steps",
        MODULE => "BLOCKING.CLEANUP",
        _ => "",
    }
}

/// The mark of a contender's points. Each contender has a form of its own.
pub fn mark<'a>(contender: &str, at: (i32, i32)) -> DynElement<'a, SVGBackend<'a>, (i32, i32)> {
    let color = color(contender);
    match contender {
        SCRIPT_A => Cross::new(at, 5, color.stroke_width(3)).into_dyn(),
        SCRIPT_B => {
            let (x, y) = at;
            Rectangle::new([(x - 5, y - 5), (x + 5, y + 5)], color.filled()).into_dyn()
        }
        CLIENT => TriangleMarker::new(at, 7, color.filled()).into_dyn(),
        CAREFUL_CLIENT => diamond(at, 7, color).into_dyn(),
        _ => Circle::new(at, 5, color.filled()).into_dyn(),
    }
}

pub fn diamond((x, y): (i32, i32), size: i32, color: RGBColor) -> Polygon<(i32, i32)> {
    let corners = [(x - size, y), (x, y - size), (x + size, y), (x, y + size)];
    Polygon::new(corners, color.filled())
}

pub fn font(pixels: f64) -> FontDesc<'static> {
    // The SVG backend divides sizes by this.
    ("sans-serif", pixels * 1.24).into()
}

pub fn text(area: &Area<'_>, words: &str, at: (i32, i32), h: HPos, v: VPos) -> Result<()> {
    colored(area, words, INK, at, Pos::new(h, v))
}

/// Text that explains another one.
pub fn faint(area: &Area<'_>, words: &str, at: (i32, i32)) -> Result<()> {
    colored(area, words, FAINT, at, Pos::new(HPos::Left, VPos::Center))
}

fn colored(area: &Area<'_>, words: &str, color: RGBColor, at: (i32, i32), pos: Pos) -> Result<()> {
    let style = TextStyle::from(font(TEXT)).color(&color).pos(pos);
    Ok(area.draw(&Text::new(words.to_owned(), at, style))?)
}

/// Title, and below it what was measured.
pub fn heading(area: &Area<'_>, picture: &Picture) -> Result<()> {
    let title = TextStyle::from(font(17.0).style(FontStyle::Bold)).color(&INK);
    area.draw(&Text::new(picture.title.clone(), (MARGIN, 12), title))?;
    faint(area, &picture.subtitle, (MARGIN, 42))
}

/// From `below` times the smallest value to a little above the largest, for a logarithmic axis.
pub fn range(below: f64, values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let min = values.clone().fold(f64::INFINITY, f64::min).max(0.001);
    let max = values.fold(min, f64::max);
    (min * below, max * 1.5)
}

pub fn times((from, to): (f64, f64)) -> Vec<f64> {
    let all = TIMES.iter().map(|(ms, _)| *ms);
    all.filter(|ms| (from..=to).contains(ms)).collect()
}

pub fn time(ms: f64) -> String {
    let label = TIMES.iter().find(|(tick, _)| *tick == ms);
    label.map_or(String::new(), |(_, label)| (*label).to_owned())
}

pub fn powers_of_ten((from, to): (f64, f64)) -> Vec<f64> {
    let all = (0..12).map(|power| 10_f64.powi(power));
    all.filter(|value| (from..=to).contains(value)).collect()
}

/// `10 k`, `1 M`.
pub fn short_count(count: f64) -> String {
    match count {
        count if count < 1_000.0 => format!("{count:.0}"),
        count if count < 1_000_000.0 => format!("{:.0} k", count / 1_000.0),
        count => format!("{:.0} M", count / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_values() {
        let shown: Vec<String> = times((8.0, 70_000.0)).into_iter().map(time).collect();
        assert_eq!(shown, ["10 ms", "100 ms", "1 s", "10 s", "1 min"]);
        let counts = powers_of_ten((700.0, 1_500_000.0));
        let shown: Vec<String> = counts.into_iter().map(short_count).collect();
        assert_eq!(shown, ["1 k", "10 k", "100 k", "1 M"]);
    }
}
