//! Results as tables, for the terminal and for the page. They say why a contender has no figures, and which figures
//! are extrapolated.

use comfy_table::{Table, TableStyle, presets};

use crate::contenders::{
    CAREFUL_CLIENT, CLIENT, LIMIT, MODULE, MODULE_AT_5, Run, SCRIPT_A, SCRIPT_B, SHELL,
};
use crate::results::{On, charged_ms, main_ms, wall_ms};
use crate::show::{count, mib, percent, spread, time, times, us};

/// Where a table is shown.
#[derive(Clone, Copy)]
pub enum Form {
    Terminal,
    Markdown,
}

impl Form {
    pub fn style(self) -> TableStyle {
        match self {
            Self::Terminal => presets::NOTHING,
            Self::Markdown => presets::ASCII_MARKDOWN,
        }
    }
}

const CONTENDERS: [&str; 7] = [
    SHELL,
    SCRIPT_A,
    SCRIPT_B,
    CLIENT,
    CAREFUL_CLIENT,
    MODULE,
    LIMIT,
];

/// Wall time of each contender, and time of the server's main thread.
pub fn speed(on: On<'_>, form: Form) -> Table {
    let mut table = table(
        form,
        [
            "contender",
            "wall time",
            "module is",
            "coordinators/s",
            "main thread",
            "of the limit",
        ],
    );
    let stale = on.first().map_or(0, |record| record.stale);
    for contender in CONTENDERS {
        if let Some(why) = on.not_run(contender) {
            table.add_row([contender, &format!("not run: {why}")]);
            continue;
        }
        let Some(wall) = on.wall_ms(contender) else {
            continue;
        };
        let label = match on.timed(contender).find_map(|timed| timed.sample) {
            Some(sample) => format!("{contender}, extrapolated from {sample}"),
            None => contender.to_owned(),
        };
        if contender == LIMIT {
            let charged = on.charged_ms(LIMIT).map_or(String::new(), spread);
            table.add_row([
                label,
                String::new(),
                String::new(),
                String::new(),
                charged,
                "1".to_owned(),
            ]);
            continue;
        }
        let faster = on
            .ratio((contender, wall_ms), (MODULE, wall_ms))
            .filter(|_| contender != MODULE)
            .map(|ratio| faster(ratio.median));
        let main = on.main_ms(contender);
        let of_limit = on
            .ratio((contender, main_ms), (LIMIT, charged_ms))
            .map(|ratio| times(ratio.median));
        table.add_row([
            label,
            spread(wall),
            faster.unwrap_or_default(),
            count(stale as f64 * 1_000.0 / wall.median),
            main.map_or(String::new(), spread),
            of_limit.unwrap_or_default(),
        ]);
    }
    table
}

fn faster(ratio: f64) -> String {
    match ratio >= 1.0 {
        true => format!("{} faster", times(ratio)),
        false => format!("{} slower", times(1.0 / ratio)),
    }
}

/// What another client waits for meanwhile; `None` without probed rounds.
pub fn waits(on: On<'_>, form: Form) -> Option<Table> {
    let mut table = table(
        form,
        [
            "contender",
            "longest wait",
            "99.9 %",
            "99 %",
            "median",
            "asked",
            "without: longest",
            "99.9 %",
        ],
    );
    for contender in CONTENDERS {
        let Some(probed) = on.probed(contender) else {
            continue;
        };
        let (waits, base) = (probed.waits, probed.base);
        table.add_row([
            contender.to_owned(),
            us(waits.max_us),
            us(waits.p999_us),
            us(waits.p99_us),
            us(waits.p50_us),
            count(waits.count as f64),
            us(base.max_us),
            us(base.p999_us),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// What fifty busy clients get done; `None` without such rounds.
pub fn throughput(on: On<'_>, form: Form) -> Option<Table> {
    let mut table = table(
        form,
        ["contender", "requests/s before", "during", "kept", "for"],
    );
    for contender in [SCRIPT_B, CLIENT, CAREFUL_CLIENT, MODULE, MODULE_AT_5] {
        let Some(kept) = on.kept(contender) else {
            continue;
        };
        let middle = |pick: fn(&crate::record::Crowded) -> f64| {
            let spread = crate::stats::Spread::of(on.crowded(contender).map(pick));
            spread.map_or(0.0, |spread| spread.median)
        };
        table.add_row([
            contender.to_owned(),
            count(middle(|crowded| crowded.before)),
            count(middle(|crowded| crowded.during)),
            format!(
                "{} ({} – {})",
                percent(kept.median),
                percent(kept.min),
                percent(kept.max)
            ),
            time(middle(|crowded| crowded.wall_ms)),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// The server's memory beyond what it held before; `None` without such rounds.
pub fn memory(on: On<'_>, form: Form) -> Option<Table> {
    let mut table = table(
        form,
        [
            "contender",
            "used, peak",
            "resident, peak",
            "bytes per family key",
        ],
    );
    let keys = on.first().map_or(1, |record| record.family_keys.max(1));
    for contender in [SCRIPT_B, CLIENT, MODULE, LIMIT] {
        let used = on.memory(contender).map(|memory| memory.used_peak).max();
        let resident = on
            .memory(contender)
            .map(|memory| memory.resident_peak)
            .max();
        let (Some(used), Some(resident)) = (used, resident) else {
            continue;
        };
        let each = used.max(resident).max(0) as f64 / keys as f64;
        table.add_row([
            contender.to_owned(),
            mib(used.max(0)),
            mib(resident),
            format!("{each:.0}"),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// What the module reports about its slices; `None` if it did not run.
pub fn slices(on: On<'_>) -> Option<String> {
    let all = Run::together(on.runs(MODULE))?;
    let long = match all.long_ones() {
        none if none.is_empty() => none,
        some => format!(" {some}."),
    };
    Some(format!(
        "Slices of the module in {}: {}, of which {} over {} µs; the longest {}.{long}",
        match on.runs(MODULE).count() {
            1 => "1 run".to_owned(),
            runs => format!("{runs} runs"),
        },
        count(all.slices as f64),
        count(all.overruns as f64),
        all.slice_us,
        us(all.longest_slice_us)
    ))
}

/// An empty table with this header.
pub fn table<const N: usize>(form: Form, header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(form.style());
    table.set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::made_up::results;
    use crate::workloads::CLASSIC;

    #[test]
    fn every_contender_has_a_row_with_figures_or_with_a_reason() {
        let results = results();
        let on = results.of("Redis 7.0.15", CLASSIC);
        let text = speed(on, Form::Markdown).to_string();
        let row = |contender: &str| {
            let start = format!("| {contender}");
            text.lines()
                .find(|line| line.starts_with(&start))
                .unwrap_or_else(|| panic!("no {contender} in {text}"))
        };
        assert!(
            row("shell, extrapolated from 5").contains("60 min"),
            "{text}"
        );
        assert!(row("script A").contains("not run: fails"));
        assert!(row("script B").contains("320 ms (300 ms – 340 ms)"));
        assert!(row("script B").contains("4.00 × faster"));
        assert!(row("module").contains("123,750") && row("module").contains("1.11 ×"));
        assert!(row("limit").contains("45.0 ms"));
    }

    #[test]
    fn other_tables_have_the_contenders_that_were_measured() {
        let results = results();
        let on = results.of("Redis 7.0.15", CLASSIC);
        assert_eq!(waits(on, Form::Markdown).unwrap().row_count(), 2);
        assert!(
            throughput(on, Form::Markdown)
                .unwrap()
                .to_string()
                .contains("100 %")
        );
        let memory = memory(on, Form::Markdown).unwrap().to_string();
        assert!(
            memory.contains("5.7 MiB") && memory.contains("100"),
            "{memory}"
        );
        assert!(
            slices(on)
                .unwrap()
                .contains("in 1 run: 400, of which 3 over 250")
        );
        assert!(waits(results.of("Redis 7.0.15", "other"), Form::Markdown).is_none());
    }
}
