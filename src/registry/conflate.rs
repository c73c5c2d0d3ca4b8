use crate::event::StatusEvent;
pub fn merge(older: StatusEvent, newer: StatusEvent) -> Option<StatusEvent> {
    Some(StatusEvent {
        old: older.old,
        ..newer
    })
}
