//! Every metric's name. Base units, prefix `rapport_`, counters end in
//! `_total`. Labels are closed sets, or ids of the rules with a bound.

/// Placements answered, by channel, level, result and class. Counter.
pub const DECISIONS: &str = "rapport_decisions_total";
/// Time from the checked question to the answer, of what somebody waits for:
/// not of streams. Histogram, seconds.
pub const DECIDE_SECONDS: &str = "rapport_decide_seconds";
/// Candidates dropped, by reason. Counter.
pub const SUPPRESSED: &str = "rapport_suppressed_total";
/// Answers in which something was wrong, by flag. Counter.
pub const DEGRADED: &str = "rapport_degraded_total";
/// Outcomes recorded, by type. Counter.
pub const OUTCOMES: &str = "rapport_outcomes_total";
/// Offers that were presented to nobody in the last 24 hours. Gauge.
pub const OFFERS_REACHING_NOBODY: &str = "rapport_offers_reaching_nobody_24h";
/// Seconds since the active ruleset became active. Gauge.
pub const RULESET_AGE_SECONDS: &str = "rapport_ruleset_age_seconds";
/// Reloads of the rules, by result. Counter.
pub const RULESET_RELOADS: &str = "rapport_ruleset_reloads_total";
/// Errors of the edit that is refused now; 0 when none is. Gauge.
pub const RULESET_REFUSED_ERRORS: &str = "rapport_ruleset_refused_errors";
/// The active revision and how it became active, as labels of the value 1.
/// Gauge; only the active one is told.
pub const RULESET_INFO: &str = "rapport_ruleset_info";
/// Publishes of rules, by outcome. Counter.
pub const PUBLISHES: &str = "rapport_ruleset_publishes_total";
/// Time the last compilation of rules took. Gauge, seconds.
pub const COMPILE_SECONDS: &str = "rapport_ruleset_compile_seconds";
/// Things that are paused, by kind. Gauge.
pub const PAUSES: &str = "rapport_pauses";
/// Changes of what is paused that are not on disk yet. Gauge.
pub const PAUSES_UNWRITTEN: &str = "rapport_pauses_unwritten";
/// Long calls about rules refused because too many were at work. Counter.
pub const LONG_WORK_REFUSED: &str = "rapport_long_work_refused_total";
/// Customers erased. Counter.
pub const ERASURES: &str = "rapport_erasures_total";
/// Requests answered with an error, by code. Counter.
pub const REQUEST_ERRORS: &str = "rapport_request_errors_total";
/// Requests being answered, questions of streams as the class `batch`. Gauge.
pub const REQUESTS_IN_FLIGHT: &str = "rapport_requests_in_flight";
/// Requests refused because too many were being answered. Counter.
pub const REQUESTS_SHED: &str = "rapport_requests_shed_total";
/// What became of calls when they came, by class and outcome. Counter.
pub const ADMISSIONS: &str = "rapport_admissions_total";
/// How long calls that did not go ahead at once were in line, whatever became of
/// them then, by class. Histogram, seconds.
pub const ADMISSION_WAIT_SECONDS: &str = "rapport_admission_wait_seconds";
/// Streams of questions and of events that are open. Gauge.
pub const STREAMS: &str = "rapport_streams_open";
/// Times a stream of questions gave way to single calls. Counter.
pub const STREAMS_GAVE_WAY: &str = "rapport_streams_gave_way_total";
/// Times a stream of events waited for the store, or for its refusals to be
/// read. Counter.
pub const EVENT_STREAMS_WAITED: &str = "rapport_event_streams_waited_total";
/// Events whose time was more than 5 minutes in the future and was set to now.
/// Counter.
pub const EVENTS_CLAMPED: &str = "rapport_events_clamped_total";
/// Events older than repetitions are noticed. Counter.
pub const EVENTS_LATE: &str = "rapport_events_late_total";
/// Request ids forgotten before their time, for there were too many, by class.
/// Counter.
pub const REQUEST_IDS_FORGOTTEN: &str = "rapport_request_ids_forgotten_total";
/// Requests of browsers refused because they came too fast. Counter.
pub const BROWSERS_LIMITED: &str = "rapport_browser_requests_limited_total";
/// Clicks on links that were not counted, for too many came. Counter.
pub const CLICKS_DROPPED: &str = "rapport_clicks_dropped_total";
/// Requests of browsers that programs sent, by how they were recognised.
/// Counter.
pub const BROWSER_PROGRAMS: &str = "rapport_browser_programs_total";
/// Panics caught in handlers. Counter.
pub const PANICS: &str = "rapport_panics_total";
/// Connections accepted. Counter.
pub const CONNECTIONS: &str = "rapport_connections_total";
/// Hot profiles. Gauge.
pub const HOT_PROFILES: &str = "rapport_hot_profiles";
/// Memory of hot profiles. Gauge, bytes.
pub const HOT_BYTES: &str = "rapport_hot_bytes";
/// Hot lookups, by result. Counter.
pub const HOT_LOOKUPS: &str = "rapport_hot_lookups_total";
/// Hot lookups for which the profile had to be unpacked. Counter.
pub const HOT_UNPACKINGS: &str = "rapport_hot_unpackings_total";
/// Profiles evicted from memory. Counter.
pub const HOT_EVICTIONS: &str = "rapport_hot_evictions_total";
/// Unpacked profiles dropped for others to have room; packed they stay. Counter.
pub const HOT_UNPACKED_EVICTIONS: &str = "rapport_hot_unpacked_evictions_total";
/// Size of the event log. Gauge, bytes.
pub const LOG_BYTES: &str = "rapport_log_bytes";
/// Records appended to the event log. Counter.
pub const LOG_RECORDS: &str = "rapport_log_records_total";
/// Syncs of the event log. Counter.
pub const FSYNCS: &str = "rapport_log_fsyncs_total";
/// Time spent syncing since the start. Gauge, seconds: a counter holds whole
/// numbers only.
pub const FSYNC_SECONDS: &str = "rapport_log_fsync_busy_seconds";
/// Longest sync since the start. Gauge, seconds.
pub const FSYNC_SECONDS_MAX: &str = "rapport_log_fsync_seconds_max";
/// Decisions that could not be recorded. Counter.
pub const DECISIONS_DROPPED: &str = "rapport_log_decisions_dropped_total";
/// Events refused for want of room. Counter.
pub const LOG_EXHAUSTED: &str = "rapport_log_exhausted_total";
/// Writes that waited for the embedded store to catch up with the log. Counter.
pub const WRITES_WAITED: &str = "rapport_writes_waited_total";
/// Times a customer was not kept as holder of a shared identity, for it has too
/// many. Counter.
pub const HOLDERS_DROPPED: &str = "rapport_shared_identity_holders_dropped_total";
/// Entries of timelines forgotten because they were too old or too many. Counter.
pub const TIMELINE_SWEPT: &str = "rapport_timeline_swept_total";
/// Merges of customers, by what led to them. Counter.
pub const MERGES: &str = "rapport_merges_total";
/// Times customers who were named together did not become one, by reason.
/// Counter.
pub const MERGES_REFUSED: &str = "rapport_merges_refused_total";
/// Merges that were taken back. Counter.
pub const MERGES_UNDONE: &str = "rapport_merges_undone_total";
/// Who watches a customer. Gauge.
pub const WATCHERS: &str = "rapport_watchers";
/// Times a watcher read too slowly and missed what happened. Counter.
pub const WATCHES_BEHIND: &str = "rapport_watches_behind_total";
/// Who follows the log. Gauge.
pub const SUBSCRIBERS: &str = "rapport_subscribers";
/// Records that the slowest of them is behind the log, counted by sequences,
/// which have gaps. Gauge.
pub const SUBSCRIBER_LAG: &str = "rapport_subscriber_lag_records";
/// Subscriptions refused, for there were too many. Counter.
pub const SUBSCRIBERS_REFUSED: &str = "rapport_subscribers_refused_total";
/// Subscriptions ended, for their reader took nothing. Counter.
pub const SUBSCRIBERS_STALLED: &str = "rapport_subscribers_stalled_total";
/// Records waiting for the writer. Gauge.
pub const LOG_QUEUE: &str = "rapport_log_queue_records";
/// Records of the log not yet in the embedded store. Gauge.
pub const STORE_UNMATERIALISED: &str = "rapport_store_unmaterialised_records";
/// Analyses of all customers, by result. Counter.
pub const SWEEPS: &str = "rapport_sweeps_total";
/// Time the last analysis of all customers took. Gauge, seconds.
pub const SWEEP_SECONDS: &str = "rapport_sweep_seconds";
/// Customers the last analysis looked at. Gauge.
pub const SWEEP_CUSTOMERS: &str = "rapport_sweep_customers";
/// When the last analysis ended, seconds since 1970. Gauge.
pub const SWEEP_ENDED: &str = "rapport_sweep_ended_timestamp_seconds";
/// Times a customer entered or left a segment, by direction. Counter.
pub const SEGMENT_CHANGES: &str = "rapport_segment_changes_total";
/// Customers in a segment at the last analysis, of the first
/// [`SEGMENTS_TOLD_MAX`]. Gauge.
pub const SEGMENT_CUSTOMERS: &str = "rapport_segment_customers";
/// Calls to Redis that ended, by kind and result: `ok`, an outage or `mistake`.
/// Counter.
pub const REDIS_CALLS: &str = "rapport_redis_calls_total";
/// Time of calls to Redis, by kind. Histogram, seconds.
pub const REDIS_SECONDS: &str = "rapport_redis_call_seconds";
/// Calls to Redis on their way. Gauge.
pub const REDIS_IN_FLIGHT: &str = "rapport_redis_calls_in_flight";
/// The breaker before Redis: 0 closed, 1 half open, 2 open. Gauge.
pub const REDIS_BREAKER: &str = "rapport_redis_breaker_state";
/// Attempts to connect to Redis, by result. Counter.
pub const REDIS_CONNECTIONS: &str = "rapport_redis_connections_total";
/// Replicas that live, as this one knows. Gauge.
pub const REPLICAS: &str = "rapport_replicas";
/// Records of the log that are not in Redis yet, about. Gauge.
pub const REPLICA_UNSHIPPED: &str = "rapport_replica_unshipped_records";
/// Entries shipped to Redis, by whether Redis had them. Counter.
pub const REPLICA_SHIPPED: &str = "rapport_replica_shipped_total";
/// Times another replica had written a customer first. Counter.
pub const REPLICA_RACES: &str = "rapport_replica_races_lost_total";
/// Entries of other replicas, by what became of them. Counter.
pub const REPLICA_RECEIVED: &str = "rapport_replica_received_total";
/// Times entries of other replicas were missing. Counter.
pub const REPLICA_GAPS: &str = "rapport_replica_gaps_total";
/// Customers read from Redis when they were asked for. Counter.
pub const REPLICA_READ: &str = "rapport_replica_read_through_total";
/// Writes acknowledged before Redis had them. Counter.
pub const REPLICA_EARLY: &str = "rapport_replica_acknowledged_early_total";
/// Whether customers in Redis were not read yet. Gauge, 0 or 1.
pub const REPLICA_JOINING: &str = "rapport_replica_joining";
/// Times another primary of Redis was noticed, or the same one after a restart.
/// Counter.
pub const STORE_FAILOVERS: &str = "rapport_store_failovers_total";
/// Background tasks that were started again, by task. Counter.
pub const TASK_RESTARTS: &str = "rapport_task_restarts_total";
/// What the service clock adds to the system's. Gauge, seconds.
pub const CLOCK_OFFSET: &str = "rapport_clock_offset_seconds";
/// Times of Redis that were passed over as outliers. Counter.
pub const CLOCK_OUTLIERS: &str = "rapport_clock_outliers_total";
/// Revisions and pauses taken over from other replicas, by what. Counter.
pub const RULES_RECEIVED: &str = "rapport_rules_received_total";
/// Changes of rules and pauses that the other replicas do not have yet. Gauge.
pub const RULES_UNSHARED: &str = "rapport_rules_unshared";
/// Claims on exact caps that ended, by result.
/// Counter.
pub const CAP_CLAIMS: &str = "rapport_caps_claims_total";
/// Claims on exact caps sent again, for nobody answered.
/// Counter.
pub const CAP_RETRIES: &str = "rapport_caps_claims_retried_total";
/// Time of claims on exact caps.
/// Histogram, seconds.
pub const CAP_SECONDS: &str = "rapport_caps_claim_seconds";
/// Places and units nobody could say of in time whether there is room, by what the rules say then.
/// Counter.
pub const CAP_UNKNOWN: &str = "rapport_caps_unknown_total";
/// Places of presentations that were seen after their reservation lapsed.
/// Counter.
pub const CAP_LATE: &str = "rapport_caps_late_total";
/// Places and units held beyond a cap or budget after an outage or a failover.
/// Counter.
pub const CAP_OVER_GRANTED: &str = "rapport_caps_over_granted_total";
/// Confirmations and releases of caps that Redis was not told yet.
/// Gauge.
pub const CAP_WAITING: &str = "rapport_caps_waiting";
/// Confirmations and releases of caps and budgets that were dropped or forgotten, for there were too many.
/// Counter.
pub const CAP_DROPPED: &str = "rapport_caps_dropped_total";
/// Calls for leases of budgets, by result.
/// Counter.
pub const LEASES: &str = "rapport_budget_leases_total";
/// Budgets that this replica holds units of.
/// Gauge.
pub const LEASES_HELD: &str = "rapport_budget_leases_held";
/// Units of budgets that this replica may grant.
/// Gauge.
pub const UNITS_LEASED: &str = "rapport_budget_units_leased";
/// Units of budgets given back unused.
/// Counter.
pub const UNITS_RETURNED: &str = "rapport_budget_units_returned_total";

/// What the rules may say of claims that nobody answers: labels of [`CAP_UNKNOWN`].
pub const UNKNOWN_POLICIES: [&str; 3] = ["deny", "local_share", "allow"];
/// How a call for a lease ends: labels of [`LEASES`].
pub const LEASE_RESULTS: [&str; 3] = ["units", "none", "failed"];

/// Most segments with a gauge of their own.
pub const SEGMENTS_TOLD_MAX: usize = 32;

/// Upper bounds of the buckets of [`DECIDE_SECONDS`].
pub const DECIDE_BUCKETS_SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Upper bounds of the buckets of [`REDIS_SECONDS`].
pub const REDIS_BUCKETS_SECONDS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.25, 1.0];

/// Upper bounds of the buckets of [`ADMISSION_WAIT_SECONDS`].
pub const WAIT_BUCKETS_SECONDS: [f64; 10] = [0.000_2, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.05, 0.2, 1.0];

/// Histograms and their buckets.
pub const BUCKETS: [(&str, &[f64]); 4] = [
    (DECIDE_SECONDS, &DECIDE_BUCKETS_SECONDS),
    (REDIS_SECONDS, &REDIS_BUCKETS_SECONDS),
    (ADMISSION_WAIT_SECONDS, &WAIT_BUCKETS_SECONDS),
    (CAP_SECONDS, &REDIS_BUCKETS_SECONDS),
];

/// Most channels with a label of their own; the rest count as `other`.
pub const CHANNELS_MAX: usize = 32;

/// How programs among browsers are recognised: labels of [`BROWSER_PROGRAMS`].
pub const PROGRAMS: [&str; 4] = ["declared", "tool", "silent", "burst"];

/// Names of the codes of `google.rpc.Code`, by number: labels of [`REQUEST_ERRORS`].
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Names and help texts.
pub const HELP: &[(&str, &str)] = &[
    (DECISIONS, "Placements answered, by channel, level, result and class"),
    (DECIDE_SECONDS, "Time from the checked question to the answer"),
    (SUPPRESSED, "Candidates dropped, by reason"),
    (DEGRADED, "Answers in which something was wrong, by flag"),
    (OUTCOMES, "Outcomes recorded, by type"),
    (OFFERS_REACHING_NOBODY, "Offers that were presented to nobody in the last 24 hours"),
    (RULESET_AGE_SECONDS, "Seconds since the active ruleset became active"),
    (RULESET_RELOADS, "Reloads of the rules, by result"),
    (RULESET_REFUSED_ERRORS, "Errors of the edit that is refused now"),
    (RULESET_INFO, "The active revision"),
    (PUBLISHES, "Publishes of rules, by outcome"),
    (COMPILE_SECONDS, "Time the last compilation of rules took"),
    (PAUSES, "Things that are paused, by kind"),
    (PAUSES_UNWRITTEN, "Changes of what is paused that are not on disk yet"),
    (ERASURES, "Customers erased"),
    (LONG_WORK_REFUSED, "Long calls about rules refused because too many were at work"),
    (REQUEST_ERRORS, "Requests answered with an error, by code"),
    (REQUESTS_IN_FLIGHT, "Requests being answered"),
    (REQUESTS_SHED, "Requests refused because too many were being answered"),
    (ADMISSIONS, "What became of calls when they came, by class and outcome"),
    (ADMISSION_WAIT_SECONDS, "How long calls that did not go ahead at once were in line, by class"),
    (STREAMS, "Streams of questions and of events that are open"),
    (STREAMS_GAVE_WAY, "Times a stream of questions gave way to single calls"),
    (EVENT_STREAMS_WAITED, "Times a stream of events waited for the store, or for its refusals to be read"),
    (EVENTS_CLAMPED, "Events whose time was more than 5 minutes in the future and was set to now"),
    (EVENTS_LATE, "Events older than repetitions are noticed"),
    (REQUEST_IDS_FORGOTTEN, "Request ids forgotten before their time, for there were too many"),
    (BROWSERS_LIMITED, "Requests of browsers refused because they came too fast"),
    (CLICKS_DROPPED, "Clicks on links that were not counted, for too many came"),
    (BROWSER_PROGRAMS, "Requests of browsers that programs sent, by how they were recognised"),
    (PANICS, "Panics caught in handlers"),
    (CONNECTIONS, "Connections accepted"),
    (HOT_PROFILES, "Profiles in memory"),
    (HOT_BYTES, "Memory of hot profiles"),
    (HOT_LOOKUPS, "Hot lookups, by result"),
    (HOT_EVICTIONS, "Profiles evicted from memory"),
    (LOG_BYTES, "Size of the event log"),
    (LOG_RECORDS, "Records appended to the event log"),
    (FSYNCS, "Syncs of the event log"),
    (FSYNC_SECONDS, "Time spent syncing"),
    (FSYNC_SECONDS_MAX, "Longest sync since the start"),
    (DECISIONS_DROPPED, "Decisions that could not be recorded"),
    (LOG_EXHAUSTED, "Events refused for want of room"),
    (WRITES_WAITED, "Writes that waited for the embedded store to catch up with the log"),
    (TIMELINE_SWEPT, "Entries of timelines forgotten because they were too old or too many"),
    (HOLDERS_DROPPED, "Times a customer was not kept as holder of a shared identity, for it has too many"),
    (MERGES, "Merges of customers, by what led to them"),
    (MERGES_REFUSED, "Times customers who were named together did not become one, by reason"),
    (MERGES_UNDONE, "Merges that were taken back"),
    (WATCHERS, "Who watches a customer"),
    (WATCHES_BEHIND, "Times a watcher read too slowly and missed what happened"),
    (SUBSCRIBERS, "Who follows the log"),
    (SUBSCRIBER_LAG, "Records that the slowest subscriber is behind the log"),
    (SUBSCRIBERS_REFUSED, "Subscriptions refused, for there were too many"),
    (SUBSCRIBERS_STALLED, "Subscriptions ended, for their reader took nothing"),
    (LOG_QUEUE, "Records waiting for the writer"),
    (SWEEPS, "Analyses of all customers, by result"),
    (SWEEP_SECONDS, "Time the last analysis of all customers took"),
    (SWEEP_CUSTOMERS, "Customers the last analysis looked at"),
    (SWEEP_ENDED, "When the last analysis ended"),
    (SEGMENT_CHANGES, "Times a customer entered or left a segment, by direction"),
    (SEGMENT_CUSTOMERS, "Customers in a segment at the last analysis"),
    (STORE_UNMATERIALISED, "Records of the log not yet in the embedded store"),
    (REDIS_CALLS, "Calls to Redis that ended, by kind and result"),
    (REDIS_SECONDS, "Time of calls to Redis, by kind"),
    (REDIS_IN_FLIGHT, "Calls to Redis on their way"),
    (REDIS_BREAKER, "The breaker before Redis: 0 closed, 1 half open, 2 open"),
    (REDIS_CONNECTIONS, "Attempts to connect to Redis, by result"),
    (REPLICAS, "Replicas that live"),
    (REPLICA_UNSHIPPED, "Records of the log that are not in Redis yet, about"),
    (REPLICA_SHIPPED, "Entries shipped to Redis, by result"),
    (REPLICA_RACES, "Times another replica had written a customer first"),
    (REPLICA_RECEIVED, "Entries of other replicas, by result"),
    (REPLICA_GAPS, "Times entries of other replicas were missing"),
    (REPLICA_READ, "Customers read from Redis when they were asked for"),
    (REPLICA_EARLY, "Writes acknowledged before Redis had them"),
    (REPLICA_JOINING, "Whether customers in Redis were not read yet"),
    (STORE_FAILOVERS, "Times another primary of Redis was noticed, or the same one after a restart"),
    (TASK_RESTARTS, "Background tasks that were started again, by task"),
    (CLOCK_OFFSET, "What the service clock adds to the system's"),
    (CLOCK_OUTLIERS, "Times of Redis that were passed over as outliers"),
    (RULES_RECEIVED, "Revisions and pauses taken over from other replicas, by what"),
    (RULES_UNSHARED, "Changes of rules and pauses that the other replicas do not have yet"),
    (CAP_CLAIMS, "Claims on exact caps that ended, by result"),
    (CAP_RETRIES, "Claims on exact caps sent again, for nobody answered"),
    (CAP_SECONDS, "Time of claims on exact caps"),
    (CAP_UNKNOWN, "Places and units nobody could say of in time whether there is room, by what the rules say then"),
    (CAP_LATE, "Places of presentations that were seen after their reservation lapsed"),
    (CAP_OVER_GRANTED, "Places and units held beyond a cap or budget after an outage or a failover"),
    (CAP_WAITING, "Confirmations and releases of caps that Redis was not told yet"),
    (
        CAP_DROPPED,
        "Confirmations and releases of caps and budgets that were dropped or forgotten, for there were too many",
    ),
    (LEASES, "Calls for leases of budgets, by result"),
    (LEASES_HELD, "Budgets that this replica holds units of"),
    (UNITS_LEASED, "Units of budgets that this replica may grant"),
    (UNITS_RETURNED, "Units of budgets given back unused"),
];
