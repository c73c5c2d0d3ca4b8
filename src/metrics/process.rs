//! What the process uses, as the operating system tells it.

use metrics::Gauge;
use metrics_process::collector::{self, Metrics as Used};

use super::table::{self, Metric};

/// The handles of the process.
pub(super) struct Process {
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_memory: Gauge,
    virtual_memory_max: Gauge,
    resident_memory: Gauge,
    start_time: Gauge,
    threads: Gauge,
}

impl Process {
    pub(super) fn new(gauge: impl Fn(&'static Metric) -> Gauge) -> Self {
        Self {
            open_fds: gauge(&table::PROCESS_OPEN_FDS),
            max_fds: gauge(&table::PROCESS_MAX_FDS),
            virtual_memory: gauge(&table::PROCESS_VIRTUAL_MEMORY),
            virtual_memory_max: gauge(&table::PROCESS_VIRTUAL_MEMORY_MAX),
            resident_memory: gauge(&table::PROCESS_RESIDENT_MEMORY),
            start_time: gauge(&table::PROCESS_START_TIME),
            threads: gauge(&table::PROCESS_THREADS),
        }
    }

    /// Shows what is used now, and what no handle takes as text: the library's counters are whole
    /// numbers, and a gateway that idles takes minutes for a second of processor time.
    pub(super) fn read(&self) -> String {
        let used = collector::collect();
        self.show(&used);
        let Some(seconds) = used.cpu_seconds_total else {
            return String::new();
        };
        let Metric { name, help, .. } = table::PROCESS_CPU_SECONDS;
        format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds}\n")
    }

    /// Leaves what the system does not tell as it was.
    fn show(&self, used: &Used) {
        let counts = [
            (&self.open_fds, used.open_fds),
            (&self.max_fds, used.max_fds),
            (&self.virtual_memory, used.virtual_memory_bytes),
            (&self.virtual_memory_max, used.virtual_memory_max_bytes),
            (&self.resident_memory, used.resident_memory_bytes),
            (&self.start_time, used.start_time_seconds),
            (&self.threads, used.threads),
        ];
        for (gauge, count) in counts {
            if let Some(count) = count {
                gauge.set(count as f64);
            }
        }
    }
}
