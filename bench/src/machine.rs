//! What was measured on, and when: processor, memory, kernel, date, but no host name.

use std::fs;

use time::OffsetDateTime;
use time::macros::format_description;

pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub date: String,
}

impl Machine {
    pub fn describe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let now = OffsetDateTime::now_utc();
        let format = format_description!("[year]-[month]-[day]");
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name")
                .unwrap_or("unknown processor".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_gib(&read("/proc/meminfo")).unwrap_or_default(),
            kernel: read("/proc/sys/kernel/ostype").trim().to_owned()
                + " "
                + read("/proc/sys/kernel/osrelease").trim(),
            date: now.format(&format).unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cpu,
            cores,
            memory_gib,
            kernel,
            date,
        } = self;
        write!(
            f,
            "{cpu}, {cores} cores, {memory_gib:.0} GiB of memory, {kernel}; {date}"
        )
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_gib(meminfo: &str) -> Option<f64> {
    let total = field(meminfo, "MemTotal")?;
    let kib: f64 = total.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024.0 / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_the_systems_own_text() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(
            field(text, "model name").as_deref(),
            Some("Some CPU @ 2 GHz")
        );
        assert_eq!(memory_gib("MemTotal:       2097152 kB\n"), Some(2.0));
        assert_eq!(memory_gib(""), None);
    }
}
