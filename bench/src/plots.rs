//! The plots of the page, as SVG. Must show what was measured: a wait is drawn for as long as it lasted, and where many
//! questions fall into one point of the line, the longest wait counts.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, anyhow};
use blocking_harness::Wait;
use plotters::prelude::*;

use crate::contenders::{CAREFUL_CLIENT, CLIENT, MODULE, SCRIPT_A, SCRIPT_B, SHELL};
use crate::record::Record;
use crate::results::Results;
use crate::round::Trace;
use crate::show;
use crate::stats::Spread;

const SIZE: (u32, u32) = (920, 420);
const MARGIN: u32 = 14;
const Y_LABELS: u32 = 80;
/// Room for the names of the lines, beside them.
const NAMES: u32 = 190;
/// Points of a line over time.
const POINTS: usize = 400;

pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// What a plot says around its lines.
pub struct Plot<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    /// Otherwise from 0 on.
    pub log_x: bool,
    pub x_label: fn(f64) -> String,
}

/// The longest wait at each moment of a run, in milliseconds since it began.
pub fn over_time(waits: &[Wait], from: Instant, to: Instant) -> Vec<(f64, f64)> {
    let span = to.saturating_duration_since(from).as_secs_f64() * 1_000.0;
    let step = span / POINTS as f64;
    let mut longest: Vec<Option<f64>> = vec![None; POINTS];
    for wait in waits {
        let waited = wait.waited.as_secs_f64() * 1_000.0;
        // A question may have been asked just before.
        let asked = match wait.asked.checked_duration_since(from) {
            Some(later) => later.as_secs_f64() * 1_000.0,
            None => -(from - wait.asked).as_secs_f64() * 1_000.0,
        };
        if step <= 0.0 || asked + waited < 0.0 || asked > span {
            continue;
        }
        let at = |ms: f64| ((ms / step).max(0.0) as usize).min(POINTS - 1);
        for point in &mut longest[at(asked)..=at(asked + waited)] {
            *point = Some(point.unwrap_or(0.0).max(waited));
        }
    }
    let points = longest.into_iter().enumerate();
    points
        .filter_map(|(n, ms)| Some((n as f64 * step, ms?)))
        .collect()
}

/// One line per contender, and one for the time before the run.
pub fn wait_lines(traces: &[(String, Trace)]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, trace) in traces {
        lines.push(Line {
            name: name.clone(),
            points: over_time(&trace.waits, trace.started, trace.ended),
        });
    }
    // The base line of the last one: as long as the longest run, or as long as there is.
    let longest = traces
        .iter()
        .map(|(_, trace)| trace.ended - trace.started)
        .max();
    if let Some(((_, trace), span)) = traces.last().zip(longest)
        && let Some(first) = trace.base.first()
    {
        lines.push(Line {
            name: "no run".to_owned(),
            points: over_time(&trace.base, first.asked, first.asked + span),
        });
    }
    lines
}

/// Median wall time of each contender against `x`, over the keyspaces for which there is one.
pub fn wall_lines(
    results: &Results,
    server: &str,
    x: impl Fn(&Record) -> Option<f64>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for contender in [SHELL, SCRIPT_A, SCRIPT_B, CLIENT, CAREFUL_CLIENT, MODULE] {
        let mut points = Vec::new();
        for workload in results.workloads(server) {
            let on = results.of(server, workload);
            let at = on.first().and_then(&x);
            if let Some((at, Spread { median, .. })) = at.zip(on.wall_ms(contender)) {
                points.push((at, median));
            }
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let is_extrapolated = results.workloads(server).iter().any(|workload| {
            results
                .of(server, workload)
                .timed(contender)
                .any(|timed| timed.sample.is_some())
        });
        let note = if is_extrapolated {
            ", extrapolated"
        } else {
            ""
        };
        if !points.is_empty() {
            lines.push(Line {
                name: format!("{contender}{note}"),
                points,
            });
        }
    }
    lines
}

/// Coordinators alone, 99 % of them dead.
pub fn coordinators(record: &Record) -> Option<f64> {
    (record.usual_share && record.foreign == 0).then_some(record.coordinators as f64)
}

/// As many coordinators as in the classic case, among others.
pub fn foreign_of(classic: usize) -> impl Fn(&Record) -> Option<f64> {
    move |record| {
        let is_on_line = record.usual_share && record.coordinators == classic;
        is_on_line.then_some(record.foreign as f64)
    }
}

/// Draws lines over a logarithmic y axis of milliseconds.
pub fn draw(path: &Path, plot: &Plot<'_>, lines: &[Line]) -> Result<()> {
    // Logarithms are taken here, and labels turn them back: one kind of chart serves all.
    let x_of = |x: f64| if plot.log_x { x.max(1.0).log10() } else { x };
    let y_of = |ms: f64| ms.max(0.001).log10();
    let all = || lines.iter().flat_map(|line| &line.points);
    let xs = Spread::of(all().map(|(x, _)| x_of(*x)));
    let ys = Spread::of(all().map(|(_, y)| y_of(*y)));
    let (xs, ys) = xs
        .zip(ys)
        .ok_or_else(|| anyhow!("nothing to draw in {}", plot.title))?;
    let x_from = if plot.log_x { xs.min.floor() } else { 0.0 };
    let x_to = if plot.log_x {
        xs.max.ceil().max(x_from + 1.0)
    } else {
        xs.max.max(1.0)
    };
    let (y_from, y_to) = (ys.min.floor(), ys.max.ceil().max(ys.min.floor() + 1.0));

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(MARGIN)
        .margin_right(NAMES)
        .caption(plot.title, ("sans-serif", 20))
        .x_label_area_size(50)
        .y_label_area_size(Y_LABELS)
        .build_cartesian_2d(x_from..x_to, y_from..y_to)?;
    let whole = |log: f64| (log - log.round()).abs() < 1e-6;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .x_desc(plot.x)
        .y_desc(plot.y)
        .y_labels((y_to - y_from) as usize + 1)
        .x_labels(if plot.log_x {
            (x_to - x_from) as usize + 1
        } else {
            6
        })
        .x_label_formatter(&|x| match plot.log_x {
            true if whole(*x) => (plot.x_label)(10_f64.powf(*x)),
            true => String::new(),
            false => (plot.x_label)(*x),
        })
        .y_label_formatter(&|y| {
            if whole(*y) {
                show::time(10_f64.powf(*y))
            } else {
                String::new()
            }
        })
        .draw()?;
    for (n, line) in lines.iter().enumerate() {
        let color = color_of(&line.name);
        let points = line.points.iter().map(|(x, y)| (x_of(*x), y_of(*y)));
        chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?;
        if line.points.len() < 20 {
            chart.draw_series(points.map(|point| Circle::new(point, 3, color.filled())))?;
        }
        // The library's own legend lies inside the plot, over the lines.
        let (x, y) = ((SIZE.0 - NAMES) as i32 + 12, 54 + 22 * n as i32);
        let sample = PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3));
        root.draw(&sample)?;
        let name = Text::new(line.name.clone(), (x + 26, y - 7), ("sans-serif", 15));
        root.draw(&name)?;
    }
    root.present()?;
    Ok(())
}

/// The same contender has the same colour on all plots.
fn color_of(name: &str) -> RGBColor {
    let starts = |contender: &&(&str, RGBColor)| name.starts_with(contender.0);
    let colors = [
        (SHELL, RGBColor(140, 86, 75)),
        (SCRIPT_A, RGBColor(255, 127, 14)),
        (SCRIPT_B, RGBColor(214, 39, 40)),
        (CLIENT, RGBColor(31, 119, 180)),
        (CAREFUL_CLIENT, RGBColor(148, 103, 189)),
        (MODULE, RGBColor(44, 140, 44)),
    ];
    colors
        .iter()
        .find(starts)
        .map_or(RGBColor(127, 127, 127), |(_, color)| *color)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::results::made_up::results;

    fn wait(from: Instant, asked_ms: u64, waited_ms: u64) -> Wait {
        Wait {
            asked: from + Duration::from_millis(asked_ms),
            waited: Duration::from_millis(waited_ms),
        }
    }

    #[test]
    fn a_wait_is_drawn_for_as_long_as_it_lasts() {
        let from = Instant::now() + Duration::from_secs(1);
        let to = from + Duration::from_millis(400);
        // A short one, then a stall of 200 ms that outshines a short one in its middle.
        let points = over_time(
            &[wait(from, 10, 1), wait(from, 100, 200), wait(from, 150, 2)],
            from,
            to,
        );
        let at = |ms: f64| {
            points
                .iter()
                .find(|point| (point.0 - ms).abs() < 0.5)
                .map(|point| point.1)
        };
        assert_eq!(at(10.0), Some(1.0));
        for ms in [100.0, 150.0, 200.0, 299.0] {
            assert!((at(ms).unwrap() - 200.0).abs() < 1e-6, "{ms}: {:?}", at(ms));
        }
        assert_eq!((at(50.0), at(350.0)), (None, None));
    }

    #[test]
    fn what_lies_outside_of_the_run_is_left_out() {
        let from = Instant::now() + Duration::from_secs(1);
        let to = from + Duration::from_millis(40);
        let before = Wait {
            asked: from - Duration::from_millis(10),
            waited: Duration::from_millis(5),
        };
        assert!(over_time(&[before, wait(from, 50, 1)], from, to).is_empty());
        let into = Wait {
            asked: from - Duration::from_millis(10),
            waited: Duration::from_millis(20),
        };
        assert_eq!(over_time(&[into], from, to)[0], (0.0, 20.0));
    }

    #[test]
    fn lines_hold_the_medians_of_the_keyspaces_that_belong_on_them() {
        let mut results = results();
        let mut larger = crate::results::made_up::timed(MODULE, 700.0, 500.0);
        (larger.workload, larger.coordinators) = ("larger".to_owned(), 100_000);
        results.records.push(larger.clone());
        (larger.workload, larger.usual_share) = ("1 % stale".to_owned(), false);
        results.records.push(larger);
        let lines = wall_lines(&results, "Redis 7.0.15", coordinators);
        let of = |name: &str| &lines.iter().find(|line| line.name == name).unwrap().points;
        assert_eq!(*of(MODULE), [(10_000.0, 80.0), (100_000.0, 700.0)]);
        assert_eq!(*of(SCRIPT_B), [(10_000.0, 320.0)]);
        assert_eq!(of("shell, extrapolated").len(), 1);
        let by_foreign = wall_lines(&results, "Redis 7.0.15", foreign_of(10_000));
        assert!(
            by_foreign
                .iter()
                .all(|line| line.points.len() == 1 && line.points[0].0 == 0.0)
        );
    }

    #[test]
    fn a_plot_names_its_lines_and_axes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        let plot = Plot {
            title: "title here",
            x: "coordinators",
            y: "wall time",
            log_x: true,
            x_label: show::count,
        };
        let lines = wall_lines(&results(), "Redis 7.0.15", coordinators);
        draw(&path, &plot, &lines).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for word in [
            "title here",
            "coordinators",
            "wall time",
            "script B",
            "module",
            "10,000",
            "100 ms",
        ] {
            assert!(svg.contains(word), "no {word}");
        }
        assert!(draw(&path, &plot, &[]).is_err());
    }
}
