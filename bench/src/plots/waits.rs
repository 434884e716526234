//! How long another client waits: 99.9 % of the waits and the longest, in a row for each contender.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Picture, Wait, style};
use crate::show;

const NAMES: u32 = 166;
/// Room for a figure right of the longest wait.
const FIGURE: u32 = 70;
const ROW: u32 = 50;
const KEY: u32 = 30;
const AXIS: u32 = 52;

pub fn draw(folder: &Path, picture: &Picture, waits: &[Wait]) -> Result<()> {
    let path = folder.join(picture.file);
    let top = style::HEADING + KEY;
    let size = (style::WIDTH, top + ROW * waits.len() as u32 + AXIS);
    let area = SVGBackend::new(&path, size).into_drawing_area();
    area.fill(&WHITE)?;
    style::heading(&area, picture)?;
    key(&area)?;

    let range = style::range(
        0.5,
        waits
            .iter()
            .flat_map(|wait| [wait.p999_ms, wait.longest_ms]),
    );
    let rows = waits.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .margin_top(top)
        .margin_left(NAMES)
        .margin_right(FIGURE)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(
            (range.0..range.1)
                .log_scale()
                .with_key_points(style::times(range)),
            rows..0.0,
        )?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(style::GRID)
        .axis_style(style::FAINT)
        .label_style(style::font(style::TEXT).color(&style::INK))
        .x_label_formatter(&|ms| style::time(*ms))
        .x_desc("wait for the reply to PING, logarithmic")
        .draw()?;
    for (n, wait) in waits.iter().enumerate() {
        let color = style::color(&wait.contender);
        let at = |ms: f64| chart.backend_coord(&(ms, n as f64 + 0.5));
        let (most, longest) = (at(wait.p999_ms), at(wait.longest_ms));
        let about = style::about(&wait.contender);
        // A name without a second line is level with its row.
        let y = most.1 - if about.is_empty() { 0 } else { 9 };
        let name = (style::MARGIN, y);
        style::text(&area, &wait.contender, name, HPos::Left, VPos::Center)?;
        style::faint(&area, about, (style::MARGIN, most.1 + 9))?;
        area.draw(&PathElement::new([most, longest], color.stroke_width(3)))?;
        area.draw(&style::diamond(longest, 9, color))?;
        // A white edge, so that both marks can be seen where they meet.
        area.draw(&Circle::new(most, 6, WHITE.filled()))?;
        area.draw(&Circle::new(most, 5, color.filled()))?;
        let above = (most.0, most.1 - 10);
        let figure = show::time(wait.p999_ms);
        style::text(&area, &figure, above, HPos::Center, VPos::Bottom)?;
        let beside = (longest.0 + 14, longest.1);
        let figure = show::time(wait.longest_ms);
        style::text(&area, &figure, beside, HPos::Left, VPos::Center)?;
    }
    area.present()?;
    Ok(())
}

/// What the two marks stand for.
fn key(area: &style::Area<'_>) -> Result<()> {
    let y = style::HEADING as i32 + 6;
    let x = style::MARGIN + 8;
    area.draw(&Circle::new((x, y), 5, style::FAINT.filled()))?;
    let most = "99.9 % of the waits are no longer";
    style::text(area, most, (x + 14, y), HPos::Left, VPos::Center)?;
    let x = x + 270;
    area.draw(&style::diamond((x, y), 9, style::FAINT))?;
    style::text(
        area,
        "the longest wait",
        (x + 14, y),
        HPos::Left,
        VPos::Center,
    )
}
