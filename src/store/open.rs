//! Opening the store, and what is done when it cannot be opened.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use crate::registry::Stored;
use crate::store::ballast::Ballast;
use crate::store::bucket_index::Index;
use crate::store::coverage::Coverage;
use crate::store::desired::Desired;
use crate::store::disk::{Disk, DiskError, Loaded, Older};
use crate::store::export::Import;
use crate::store::files::{self, Layout, LockError};
use crate::store::space::{Bytes, REOPEN_MIN};
use crate::store::{EVENT_BLOCK, copies, export, swap};
use crate::{clock, time};

/// After a quarantine so many numbers are skipped beyond those the export knows to be reserved:
/// it may be older than the last reservation.
const SKIP_AFTER_EXPORT: u64 = 1 << 32;
/// … and numbers start at least at the milliseconds since the Unix epoch times this, so that they
/// do not repeat either when there is no export: nobody gives out a million a second for years.
const SKIP_PER_MS: u64 = 1024;

/// Why the store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory {} is in use by {holder}; one gateway at a time", directory.display())]
    InUse { directory: PathBuf, holder: String },
    #[error("the store in {} was written by a newer gateway: {error}", directory.display())]
    Newer {
        directory: PathBuf,
        error: DiskError,
    },
    #[error(
        "the store in {} cannot be opened: {problem}; {free} are free on its disk, and a start wants \
         {wanted}: make space and start again",
        directory.display()
    )]
    NoSpace {
        directory: PathBuf,
        problem: String,
        free: Bytes,
        wanted: Bytes,
    },
    #[error("the store in {} cannot be opened: {problem}", directory.display())]
    Refused { directory: PathBuf, problem: String },
}

/// A store as it was found and made ready.
pub struct Found {
    pub layout: Layout,
    pub disk: Disk,
    pub desired: Desired,
    pub coverage: Coverage,
    pub audit: AuditStart,
    pub buckets: Index,
    pub ballast: Ballast,
    /// Keeps other processes out until it is dropped.
    pub lock: File,
}

/// Where the audit log goes on.
#[derive(Clone, Copy, Debug)]
pub struct AuditStart {
    /// The numbers of the first and the last entry on disk.
    pub stored: Option<(u64, u64)>,
    /// The number to begin with when there is none.
    pub base: u64,
}

/// Opens, sets aside what is damaged, and begins a run of the event log. On a full disk it uses the
/// space that was kept for it, and keeps what is left of it for the next start.
///
/// # Errors
/// [`OpenError`].
pub fn open(directory: &Path) -> Result<(Found, Stored), OpenError> {
    let layout = Layout::new(directory);
    let refused = |problem: String| OpenError::Refused {
        directory: directory.to_owned(),
        problem,
    };
    files::make_directory(directory).map_err(|error| refused(error.to_string()))?;
    let lock = files::lock(&layout.owner()).map_err(|error| match error {
        LockError::Held(holder) => OpenError::InUse {
            directory: directory.to_owned(),
            holder,
        },
        LockError::Io(error) => refused(error.to_string()),
    })?;
    let mut ballast = Ballast::of(&layout);
    ballast.give_up_if_short();
    let mut opened = open_and_begin(&layout);
    // What is left to a user can be less than what is free.
    if matches!(opened, Err(DiskError::NoSpace(_))) && ballast.give_up() {
        opened = open_and_begin(&layout);
    }
    let free = Bytes(files::space(directory).map_or(0, |told| told.free));
    ballast.keep();
    let (disk, begun) = opened.map_err(|error| match error {
        DiskError::NewerSchema { .. } => OpenError::Newer {
            directory: directory.to_owned(),
            error,
        },
        DiskError::NoSpace(problem) => OpenError::NoSpace {
            directory: directory.to_owned(),
            problem,
            free,
            wanted: Bytes(ballast.wanted()),
        },
        error => refused(error.to_string()),
    })?;
    let found = Found {
        layout,
        disk,
        desired: begun.desired,
        coverage: begun.coverage,
        audit: begun.audit,
        buckets: begun.buckets,
        ballast,
        lock,
    };
    Ok((found, begun.stored))
}

/// Opens sled in a thread of its own, because on some damage it panics.
///
/// # Errors
/// [`DiskError`]; a panic is [`DiskError::Damaged`].
pub fn open_guarded(path: &Path, older: Older) -> Result<(Disk, Loaded), DiskError> {
    let path = path.to_owned();
    guarded(move || Disk::open(&path, older))
}

/// Does something with sled in a thread of its own.
///
/// # Errors
/// [`DiskError`]; a panic is [`DiskError::Damaged`].
pub fn guarded<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, DiskError> {
    let name = "store-open".to_owned();
    let running = thread::Builder::new().name(name).spawn(step)?;
    let done = running.join();
    done.unwrap_or_else(|panic| Err(DiskError::Damaged(panic_text(&*panic))))
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.unwrap_or_default())
}

struct Begun {
    desired: Desired,
    coverage: Coverage,
    audit: AuditStart,
    buckets: Index,
    stored: Stored,
}

fn open_and_begin(layout: &Layout) -> Result<(Disk, Begun), DiskError> {
    swap::settle(layout)?;
    let (disk, loaded) = open_or_replace(layout)?;
    let begun = guarded(move || begin(disk, loaded));
    begun.map_err(|error| named(layout, error))
}

/// On a full disk sled also fails in words of its own: nothing is damaged then.
fn named(layout: &Layout, error: DiskError) -> DiskError {
    let free = files::space(layout.directory()).map(|told| told.free);
    match error {
        DiskError::Damaged(problem) if free.is_ok_and(|free| free < REOPEN_MIN) => {
            DiskError::NoSpace(problem)
        }
        error => error,
    }
}

fn open_or_replace(layout: &Layout) -> Result<(Disk, Loaded), DiskError> {
    let open_whole = || open_whole(layout).map_err(|error| named(layout, error));
    let first = match open_whole() {
        Err(DiskError::Damaged(problem)) => problem,
        other => return other,
    };
    let unix_seconds = clock::now().unix_ms / 1000;
    tracing::error!(problem = %first, "the store is damaged; trying without its snapshot files");
    let snapshots = layout.quarantine(unix_seconds, ".snapshots");
    files::move_snapshots(&layout.store(), &snapshots)?;
    match open_whole() {
        Err(DiskError::Damaged(problem)) => {
            tracing::error!(%problem, "the store is damaged and is set aside");
            quarantine(layout, unix_seconds)
        }
        other => {
            tracing::error!(moved_to = %snapshots.display(), "the store opened without them");
            other
        }
    }
}

/// Opens a store that has at least what its export knows of. On some damage sled opens without a
/// word and has lost the newest of what it held, or all of it.
fn open_whole(layout: &Layout) -> Result<(Disk, Loaded), DiskError> {
    let exported = export::groups(&files::first_line(&layout.export())?);
    let (disk, loaded) = match open_guarded(&layout.store(), Older::Refused) {
        Err(DiskError::OlderSchema { found }) => {
            copies::before_migration(layout, found, clock::now().unix_ms / 1000)?;
            open_guarded(&layout.store(), Older::Taken)?
        }
        other => other?,
    };
    let found = loaded.desired.groups;
    if found < exported {
        return Err(DiskError::Damaged(format!(
            "it has {found} groups of changes, and its export has {exported}"
        )));
    }
    Ok((disk, loaded))
}

/// Sets the store aside and fills a new one from the newest export.
fn quarantine(layout: &Layout, unix_seconds: u64) -> Result<(Disk, Loaded), DiskError> {
    let aside = free_name(layout, unix_seconds);
    fs::rename(layout.store(), &aside)?;
    files::sync_directory(layout.directory())?;
    let Import {
        desired: imported,
        properties,
        ..
    } = import(layout, &aside)?;
    let (disk, mut loaded) = match open_guarded(&layout.store(), Older::Taken) {
        Ok(opened) => opened,
        Err(error) => {
            // The next start is to find the damaged store and not an empty one.
            let emptied = fs::remove_dir_all(layout.store());
            emptied.and_then(|()| fs::rename(&aside, layout.store()))?;
            return Err(error);
        }
    };
    for change in imported.repair(&loaded.desired).changes {
        disk.apply(&change)?;
    }
    disk.replace_properties(&properties)?;
    tracing::error!(
        set_aside = %aside.display(),
        devices = imported.devices.len(),
        identities = imported.identities.len(),
        records = imported.records.len(),
        properties = properties.len(),
        "the gateway goes on with the newest export; statuses, events and points before it are gone"
    );
    loaded.desired = imported;
    loaded.numbers_known = false;
    Ok((disk, loaded))
}

fn free_name(layout: &Layout, unix_seconds: u64) -> PathBuf {
    let mut aside = layout.quarantine(unix_seconds, "");
    for copy in 2..u32::MAX {
        if !aside.exists() {
            break;
        }
        aside = layout.quarantine(unix_seconds, &format!("-{copy}"));
    }
    aside
}

/// Reads the export, and keeps a copy beside the damaged store, because the next one replaces it.
fn import(layout: &Layout, aside: &Path) -> Result<Import, DiskError> {
    let text = match fs::read(layout.export()) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::error!("there is no export to go on with: the gateway starts empty");
            return Ok(Import::default());
        }
        Err(error) => return Err(error.into()),
    };
    files::replace(&files::export_beside(aside), &text)?;
    Ok(read_export(&text))
}

fn read_export(text: &[u8]) -> Import {
    let import = export::read(text);
    for bad in &import.bad {
        tracing::error!(line = bad.line, problem = %bad.problem, "a line of the export was passed over");
    }
    import
}

/// Puts the properties of the export into a store that came back with fewer groups of changes than
/// it acknowledged, if the export has more. What is neither there nor here is lost.
///
/// # Errors
/// [`DiskError`].
pub fn restore_properties(layout: &Layout, disk: &Disk, found: u64) -> Result<(), DiskError> {
    let text = fs::read(layout.export()).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })?;
    let import = read_export(&text);
    let exported = import.desired.groups;
    tracing::error!(
        found,
        exported,
        "the store came back without its newest changes; of the properties only what the export has is put right"
    );
    if exported > found {
        disk.replace_properties(&import.properties)?;
    }
    Ok(())
}

/// Reserves a block of event numbers and begins a run.
fn begin(disk: Disk, loaded: Loaded) -> Result<(Disk, Begun), DiskError> {
    let mut desired = loaded.desired;
    let base = match loaded.numbers_known {
        true => desired.events_reserved,
        false => base_without_record(desired.events_reserved, clock::now()),
    };
    let audit = AuditStart {
        stored: loaded.audit,
        base: match loaded.numbers_known && desired.groups == 0 {
            true => 1,
            // The log was lost, or not imported; what was told of it must not be told again as
            // something else.
            false => clock::now().unix_ms.saturating_mul(SKIP_PER_MS),
        },
    };
    let reserved = base.saturating_add(EVENT_BLOCK + 1);
    let (floor, runs) = loaded.coverage.unwrap_or((base, Vec::new()));
    let batches = loaded.batches;
    let coverage = Coverage::start(floor, runs, batches, &loaded.damaged_batches, base);
    disk.start_run(&coverage, reserved)?;
    // Only after the note that the log does not reach behind them.
    disk.drop_batches(&loaded.damaged_batches, &coverage)?;
    desired.groups += 1;
    disk.count_groups(desired.groups)?;
    disk.sync()?;
    desired.events_reserved = reserved;
    let stored = Stored {
        devices: desired.devices.values().copied().collect(),
        accept_filter: desired.accept_filter.clone(),
        identities: desired
            .identities
            .iter()
            .map(|(id, identity)| (*id, identity.clone()))
            .collect(),
        records: desired.records.values().cloned().collect(),
        last_statuses: loaded.last_statuses,
        event_next: base.saturating_add(1),
        events_reserved: reserved,
    };
    let begun = Begun {
        desired,
        coverage,
        audit,
        buckets: loaded.buckets,
        stored,
    };
    Ok((disk, begun))
}

/// The end of the reserved numbers is itself never given out: it stands for the state in which
/// this run begins.
pub fn base_without_record(exported: u64, now: time::Now) -> u64 {
    let by_export = exported.saturating_add(SKIP_AFTER_EXPORT);
    by_export.max(now.unix_ms.saturating_mul(SKIP_PER_MS))
}
