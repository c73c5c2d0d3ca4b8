//! A copy of the store before a newer gateway changes it.

use std::fs;
use std::io;

use crate::store::disk::{DiskError, SCHEMA};
use crate::store::files::{self, Layout};
use crate::store::space::Bytes;

/// So many copies are kept; the oldest go first.
const COPIES_KEPT: usize = 3;

/// Copies a store of the schema `found` and its export; both are on disk then.
///
/// # Errors
/// [`DiskError::NoSpace`] when there is not enough; then nothing is changed.
pub fn before_migration(layout: &Layout, found: u32, unix_seconds: u64) -> Result<(), DiskError> {
    files::remove_directory(&layout.copying())?;
    let export = fs::read(layout.export()).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })?;
    let needed = files::size(&layout.store())?.saturating_add(export.len() as u64);
    let free = files::space(layout.directory())?.free;
    if free < needed {
        return Err(no_space(found, needed, free));
    }
    let copy = layout.copy_of_schema(found, unix_seconds);
    let copied = files::copy_directory(&layout.store(), &layout.copying())
        .and_then(|()| files::replace(&files::export_beside(&copy), &export))
        .and_then(|()| fs::rename(layout.copying(), &copy))
        .and_then(|()| files::sync_directory(layout.directory()));
    if let Err(error) = copied {
        // What is left of it takes the space that is missing.
        files::remove_directory(&layout.copying())?;
        return Err(match error.into() {
            DiskError::NoSpace(_) => no_space(found, needed, free),
            error => error,
        });
    }
    tracing::warn!(
        copy = %copy.display(),
        schema = found,
        new_schema = SCHEMA,
        "the store is of an older gateway; it was copied and is now changed"
    );
    forget_oldest(layout);
    Ok(())
}

fn no_space(found: u32, needed: u64, free: u64) -> DiskError {
    let (needed, free) = (Bytes(needed), Bytes(free));
    DiskError::NoSpace(format!(
        "it is of schema {found}, and is copied before it is changed to schema {SCHEMA}: that needs \
         {needed}, and {free} are free; make space and start again, nothing was changed"
    ))
}

fn forget_oldest(layout: &Layout) {
    let forgotten = layout.copies_of_schemas().and_then(|copies| {
        let too_many = copies.len().saturating_sub(COPIES_KEPT);
        for copy in &copies[..too_many] {
            fs::remove_dir_all(copy)?;
            match fs::remove_file(files::export_beside(copy)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    });
    if let Err(error) = forgotten {
        tracing::warn!(%error, "an old copy of the store could not be removed");
    }
}
