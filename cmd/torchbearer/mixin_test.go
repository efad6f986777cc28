// SPDX-License-Identifier: Apache-2.0

package main

// How a metric of Prometheus is here.
const (
	kept   = "kept"
	other  = "kept, with another meaning"
	absent = "absent"
)

// counterpart is a metric of Prometheus, and what is in its place.
type counterpart struct{ name, here, note string }

// mixin are the metrics that dashboards and alerts for Prometheus ask for.
func mixin() []counterpart {
	return []counterpart{
		{"prometheus_build_info", kept, "of torchbearer; `torchbearer_build_info` is the same"},
		{"prometheus_config_last_reload_successful", kept, "PrometheusBadConfig"},
		{"prometheus_config_last_reload_success_timestamp_seconds", kept, ""},
		{"process_start_time_seconds", kept, ""},
		{"prometheus_agent_active_series", kept, "of the log of this process"},
		{"prometheus_agent_samples_appended_total", kept, ""},
		{"prometheus_agent_out_of_order_samples_total", kept, ""},
		{"prometheus_agent_corruptions_total", kept, "always 0: damage is in `torchbearer_wal_damaged_records_total`"},
		{"prometheus_agent_data_replay_duration_seconds", kept, "nothing is replayed; close to 0"},
		{"prometheus_remote_storage_samples_in_total", kept, ""},
		{"prometheus_remote_storage_samples_total", kept, "each attempt counts"},
		{"prometheus_remote_storage_samples_failed_total", kept, "PrometheusRemoteStorageFailures; only what the receiver refused for good, one by one"},
		{"prometheus_remote_storage_samples_retried_total", kept, ""},
		{"prometheus_remote_storage_samples_dropped_total", other, "only `too_old`, by sample_age_limit; what rules drop is in `torchbearer_write_relabel_dropped_samples_total`"},
		{"prometheus_remote_storage_samples_pending", other, "all that has no answer, the log on disk included; Prometheus counts what is in memory. Histograms count, too"},
		{"prometheus_remote_storage_histograms_pending", absent, "they are in `prometheus_remote_storage_samples_pending`"},
		{"prometheus_remote_storage_exemplars_pending", absent, "they go with their samples"},
		{"prometheus_remote_storage_bytes_total", kept, ""},
		{"prometheus_remote_storage_sent_batch_duration_seconds", kept, ""},
		{"prometheus_remote_storage_highest_timestamp_in_seconds", kept, "PrometheusRemoteWriteBehind"},
		{"prometheus_remote_storage_queue_highest_timestamp_seconds", kept, "PrometheusRemoteWriteBehind"},
		{"prometheus_remote_storage_queue_highest_sent_timestamp_seconds", kept, "PrometheusRemoteWriteBehind; what was refused for good counts as answered"},
		{"prometheus_remote_storage_shards", kept, "requests that are on their way at once"},
		{"prometheus_remote_storage_shards_min", kept, ""},
		{"prometheus_remote_storage_shards_max", kept, ""},
		{"prometheus_remote_storage_shards_desired", kept, "PrometheusRemoteWriteDesiredShards; more than the limit only while a destination is behind"},
		{"prometheus_remote_storage_max_samples_per_send", kept, ""},
		{"prometheus_remote_storage_shard_capacity", absent, "there is no queue in memory; see `torchbearer_destination_backlog_bytes`"},
		{"prometheus_remote_storage_enqueue_retries_total", absent, "nothing waits for a queue"},
		{"prometheus_remote_storage_metadata_total", absent, ""},
		{"prometheus_remote_storage_succeeded_samples_total", absent, "`torchbearer_destination_sent_samples_total`"},
		{"prometheus_remote_storage_failed_samples_total", absent, "`prometheus_remote_storage_samples_failed_total`, as in later versions of Prometheus"},
		{"prometheus_remote_storage_pending_samples", absent, "`prometheus_remote_storage_samples_pending`, as in later versions"},
		{"prometheus_remote_storage_dropped_samples_total", absent, "`prometheus_remote_storage_samples_dropped_total`, as in later versions"},
		{"prometheus_remote_storage_retried_samples_total", absent, "`prometheus_remote_storage_samples_retried_total`, as in later versions"},
		{"prometheus_wal_watcher_current_segment", absent, "`sentUntil` of `/api/v1/status/destinations`"},
		{"prometheus_sd_discovered_targets", kept, ""},
		{"prometheus_sd_kubernetes_failures_total", kept, "PrometheusKubernetesListWatchFailures"},
		{"prometheus_sd_refresh_failures_total", kept, "PrometheusSDRefreshFailure"},
		{"prometheus_target_interval_length_seconds", kept, ""},
		{"prometheus_target_sync_length_seconds", kept, ""},
		{"prometheus_target_sync_failed_total", kept, "PrometheusTargetSyncFailure"},
		{"prometheus_target_metadata_cache_entries", kept, ""},
		{"prometheus_target_scrape_pool_exceeded_label_limits_total", kept, "PrometheusLabelLimitHit"},
		{"prometheus_target_scrape_pool_exceeded_target_limit_total", kept, "PrometheusTargetLimitHit"},
		{"prometheus_target_scrapes_exceeded_body_size_limit_total", kept, "PrometheusScrapeBodySizeLimitHit"},
		{"prometheus_target_scrapes_exceeded_sample_limit_total", kept, "PrometheusScrapeSampleLimitHit"},
		{"prometheus_target_scrapes_sample_duplicate_timestamp_total", kept, "PrometheusDuplicateTimestamps"},
		{"prometheus_target_scrapes_sample_out_of_order_total", kept, "PrometheusOutOfOrderTimestamps"},
		{"prometheus_target_scrapes_sample_out_of_bounds_total", kept, ""},
		{"prometheus_tsdb_head_series", absent, "an agent has no TSDB: `prometheus_agent_active_series`"},
		{"prometheus_tsdb_head_samples_appended_total", absent, "`prometheus_agent_samples_appended_total`; PrometheusNotIngestingSamples with that"},
		{"prometheus_tsdb_compactions_failed_total", absent, "an agent has no TSDB"},
		{"prometheus_engine_queries", absent, "an agent answers no queries"},
		{"prometheus_rule_evaluation_failures_total", absent, "an agent evaluates no rules"},
		{"prometheus_notifications_queue_length", absent, "an agent sends no alerts"},
	}
}
