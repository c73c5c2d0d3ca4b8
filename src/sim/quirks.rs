//! What the clients in the field do differently from a good device, one field a quirk.
//!
//! What every client of a [`Dialect`] does goes by the dialect instead: a legacy device says its
//! first Keep Alive after a second and leaves when it is not echoed.

use std::time::Duration;

use crate::codec::dialect::Dialect;
use crate::codec::frame::BODY_MAX;
use crate::sim::device::Config;

/// The clients that a device can behave as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// The Linux client since 2026.
    Linux,
    /// The microcontroller clients since 2026.
    Embedded,
    /// The Linux client until 2026.
    Legacy,
    /// July 2020, field keys as every shipped encoder writes them.
    Of2020,
    /// July 2020, field keys as the pages of the time draw them.
    Doc2020,
}

impl Like {
    pub const ALL: [Self; 5] = [
        Self::Linux,
        Self::Embedded,
        Self::Legacy,
        Self::Of2020,
        Self::Doc2020,
    ];

    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Linux | Self::Embedded => Dialect::Current,
            Self::Legacy => Dialect::Legacy,
            Self::Of2020 => Dialect::Code2020,
            Self::Doc2020 => Dialect::Doc2020,
        }
    }

    pub const fn quirks(self) -> Quirks {
        match self {
            Self::Linux => Quirks::LINUX,
            Self::Embedded => Quirks::EMBEDDED,
            Self::Legacy => Quirks::LEGACY,
            Self::Of2020 | Self::Doc2020 => Quirks::OF_2020,
        }
    }

    /// Makes the device behave so. No such client asks for a keep-alive interval.
    pub const fn apply(self, config: &mut Config) {
        config.dialect = self.dialect();
        config.quirks = self.quirks();
        config.keep_alive = None;
    }
}

/// How one client deviates. Each field is true, or `Some`, where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Takes any Ok for the answer to its Connect: it looks at the type of the first frame alone.
    pub takes_any_ok: bool,
    /// How long it waits for that answer; most wait for ever.
    pub patience: Option<Duration>,
    /// Says Keep Alive at this interval, whatever was asked for in the Connect.
    pub keep_alive: Option<Duration>,
    /// A Disconnect is a message that it does not know: the link stays open.
    pub ignores_disconnect: bool,
    /// Answers a Run that wants no answer, under stream ID 0.
    pub answers_unasked: bool,
    /// Runs handlers on several threads: the answers to the Runs of one packet come back last one
    /// first.
    pub swaps_answers: bool,
    /// Drops the rest of a body at a wire type that it does not know, and goes on with what it
    /// has; others close the link.
    pub drops_the_rest: bool,
    /// Every second message has its fields in the other order: payload before stream ID.
    pub varies_fields: bool,
    /// Its maps are sorted by key.
    pub sorts_maps: bool,
    pub bare_negative: BareNegative,
    /// A float that stands outside a map or array loses its fraction.
    pub truncates_floats: bool,
    /// A Start Stream runs a resource that takes and tells nothing: the device reboots.
    pub runs_on_start: bool,
    /// A Start Stream of an open stream must name its resource again.
    pub wants_resource: bool,
    /// An interval that stands outside a map is not seen: the stream is one of events.
    pub ignores_bare_interval: bool,
    /// A Start Stream of an open stream without an interval leaves the one that it has.
    pub keeps_interval: bool,
    /// It looks at its sampled streams on this beat only.
    pub tick: Option<Duration>,
    /// Its streams outlive the link: under their old IDs they go on over the next one.
    pub keeps_streams: bool,
    pub events: Events,
    /// A Run with an input is followed by an event, whether or not it changed anything.
    pub echoes_runs: bool,
    /// A value of a resource that takes and tells goes in two messages, input and output.
    pub tells_both: bool,
    /// Says Ok to a Stop Stream whatever it names.
    pub always_stops: bool,
    /// Says Error to an answer and to data that belong to nothing.
    pub answers_answers: bool,
    /// Has no Describe.
    pub lacks_describe: bool,
    pub shape: Shape,
    /// The largest body that it takes, in bytes; at a larger one it closes the link.
    pub body_max: usize,
}

/// How a negative integer outside maps and arrays is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNegative {
    /// As PSON, which keeps it.
    Pson,
    /// As varint 0: it is lost.
    Zero,
    /// As a varint of ten bytes, its two's complement.
    TwosComplement,
}

/// Which of the streams on a resource are told of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// Those without an interval.
    Unsampled,
    /// The one that was started last, sampled or not. None once any of them was stopped.
    LastStarted,
    /// Every one.
    All,
}

/// Where the Run of a server function has its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// In the resource; the name is the parameters.
    Resource,
    /// In the parameters; the name is the resource.
    Parameters,
    /// In the action of the 2020 dialect; the name is the resource.
    Action,
}

impl Quirks {
    /// Those of a good device: none.
    pub const NONE: Self = Self {
        takes_any_ok: false,
        patience: None,
        keep_alive: None,
        ignores_disconnect: false,
        answers_unasked: false,
        swaps_answers: false,
        drops_the_rest: false,
        varies_fields: false,
        sorts_maps: false,
        bare_negative: BareNegative::Pson,
        truncates_floats: false,
        runs_on_start: false,
        wants_resource: false,
        ignores_bare_interval: false,
        keeps_interval: false,
        tick: None,
        keeps_streams: false,
        events: Events::Unsampled,
        echoes_runs: false,
        tells_both: false,
        always_stops: false,
        answers_answers: false,
        lacks_describe: false,
        shape: Shape::Resource,
        body_max: BODY_MAX,
    };

    pub const LINUX: Self = Self {
        takes_any_ok: true,
        ignores_disconnect: true,
        answers_unasked: true,
        swaps_answers: true,
        drops_the_rest: true,
        varies_fields: true,
        sorts_maps: true,
        bare_negative: BareNegative::Zero,
        runs_on_start: true,
        wants_resource: true,
        ignores_bare_interval: true,
        tick: Some(Duration::from_secs(1)),
        keeps_streams: true,
        body_max: 256 * 1024,
        ..Self::NONE
    };

    pub const EMBEDDED: Self = Self {
        takes_any_ok: true,
        patience: Some(Duration::from_secs(10)),
        answers_unasked: true,
        bare_negative: BareNegative::TwosComplement,
        events: Events::LastStarted,
        echoes_runs: true,
        always_stops: true,
        shape: Shape::Parameters,
        body_max: 32 * 1024,
        ..Self::NONE
    };

    pub const LEGACY: Self = Self {
        bare_negative: BareNegative::TwosComplement,
        truncates_floats: true,
        ignores_bare_interval: true,
        keeps_interval: true,
        events: Events::All,
        echoes_runs: true,
        tells_both: true,
        answers_answers: true,
        ..Self::NONE
    };

    /// One stream is enough there: events and samples are told apart by their type.
    pub const OF_2020: Self = Self {
        events: Events::All,
        lacks_describe: true,
        shape: Shape::Action,
        ..Self::NONE
    };
}

impl Default for Quirks {
    fn default() -> Self {
        Self::NONE
    }
}
