//! Wall time of each contender against a number that grows tenfold; both axes are logarithmic. A line has its name
//! and its last figure where it ends.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Line, Picture, style};
use crate::contenders::MODULE;
use crate::show;

const HEIGHT: u32 = 430;
const TIMES: u32 = 76;
/// Room for the names of the lines.
const NAMES: u32 = 168;
const AXIS: u32 = 52;
/// Pixels between the names of two lines that end close to each other.
const APART: f64 = 19.0;

pub fn draw(folder: &Path, picture: &Picture, x: &str, lines: &[Line]) -> Result<()> {
    let path = folder.join(picture.file);
    let area = SVGBackend::new(&path, (style::WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    style::heading(&area, picture)?;

    let points = || lines.iter().flat_map(|line| &line.wall_ms);
    let counts = style::range(0.8, points().map(|(count, _)| *count as f64));
    let times = style::range(0.5, points().map(|(_, ms)| *ms));
    let mut chart = ChartBuilder::on(&area)
        .margin_top(style::HEADING)
        .margin_right(NAMES)
        .y_label_area_size(TIMES)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(
            (counts.0..counts.1)
                .log_scale()
                .with_key_points(style::powers_of_ten(counts)),
            (times.0..times.1)
                .log_scale()
                .with_key_points(style::times(times)),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(style::GRID)
        .axis_style(style::FAINT)
        .label_style(style::font(style::TEXT).color(&style::INK))
        .x_label_formatter(&|count| style::short_count(*count))
        .y_label_formatter(&|ms| style::time(*ms))
        .x_desc(format!("{x}; both axes logarithmic"))
        .draw()?;

    let all: Vec<(i32, i32)> = points()
        .map(|(count, ms)| chart.backend_coord(&(*count as f64, *ms)))
        .collect();
    let mut ends = Vec::new();
    for line in lines {
        let color = style::color(&line.contender);
        let points: Vec<(i32, i32)> = line
            .wall_ms
            .iter()
            .map(|(count, ms)| chart.backend_coord(&(*count as f64, *ms)))
            .collect();
        area.draw(&PathElement::new(points.clone(), color.stroke_width(2)))?;
        for point in &points {
            area.draw(&style::mark(&line.contender, *point))?;
        }
        if line.contender == MODULE {
            let figures = points.iter().zip(line.wall_ms.values());
            for (point, ms) in figures.rev().skip(1) {
                let lowest = all.iter().filter(|(x, _)| *x == point.0).map(|(_, y)| *y);
                let below = (point.0 + 4, lowest.max().unwrap_or(point.1) + 7);
                let words = format!("{MODULE} {}", show::time(*ms));
                style::text(&area, &words, below, HPos::Left, VPos::Top)?;
            }
        }
        if let Some((end, ms)) = points.last().zip(line.wall_ms.values().last()) {
            ends.push((line, *end, *ms));
        }
    }
    names(&area, ends)?;
    area.present()?;
    Ok(())
}

/// Each line's name and last figure, right of where it ends.
fn names(area: &style::Area<'_>, mut ends: Vec<(&Line, (i32, i32), f64)>) -> Result<()> {
    ends.sort_by_key(|(_, (x, y), _)| (*x, *y));
    let last = ends
        .iter()
        .map(|(_, (x, _), _)| *x)
        .max()
        .unwrap_or_default();
    let (early, late): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(_, (x, _), _)| *x < last);
    let early_at: Vec<i32> = early.iter().map(|(_, (_, y), _)| *y).collect();
    let late_at = spread(late.iter().map(|(_, (_, y), _)| f64::from(*y)).collect());
    let all = early.into_iter().zip(early_at);
    for ((line, end, ms), y) in all.chain(late.into_iter().zip(late_at)) {
        let color = style::color(&line.contender);
        let name = (end.0 + 22, y);
        let pointer = [(end.0 + 8, end.1), (name.0 - 3, y)];
        area.draw(&PathElement::new(pointer, color.stroke_width(1)))?;
        let words = format!("{} {}", line.contender, show::time(ms));
        let (above, below) = match &line.note {
            Some(_) => (y - 9, y + 9),
            None => (y, y),
        };
        style::text(area, &words, (name.0, above), HPos::Left, VPos::Center)?;
        if let Some(note) = &line.note {
            style::faint(area, note, (name.0, below))?;
        }
    }
    Ok(())
}

/// Moves sorted heights apart until texts there do not overlap.
fn spread(mut heights: Vec<f64>) -> Vec<i32> {
    for _ in 0..100 {
        for n in 1..heights.len() {
            let missing = APART - (heights[n] - heights[n - 1]);
            if missing > 0.0 {
                heights[n - 1] -= missing / 2.0;
                heights[n] += missing / 2.0;
            }
        }
    }
    heights.into_iter().map(|y| y.round() as i32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lines_that_end_together_do_not_overlap() {
        let spread = spread(vec![100.0, 101.0, 102.0, 300.0]);
        let apart = APART as i32 - 1;
        assert!(
            spread.windows(2).all(|pair| pair[1] - pair[0] >= apart),
            "{spread:?}"
        );
        assert_eq!((spread[1], spread[3]), (101, 300));
    }
}
