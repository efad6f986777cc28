// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/agent/targets"
)

const (
	runCommand     = "run"
	checkCommand   = "check config"
	liveCommand    = "check live"
	prepareCommand = "prepare-data"
	supportCommand = "support"
)

// flags are what the command line says. Names and defaults are those of
// Prometheus's agent wherever it has the flag.
type flags struct {
	started time.Time
	values  map[string]string // as given or by default, for the API

	configFile           string
	autoReload           bool
	autoReloadInterval   model.Duration
	ignoreServerSections bool
	requiredLabels       string
	checkFiles           []string
	checkLint            bool
	checkSyntaxOnly      bool
	live                 live
	prepare              prepare
	explain              explainFlags
	support              support

	storagePath        string
	walCompression     bool
	walCompressionType string
	walSegmentSize     units.Base2Bytes
	truncateFrequency  model.Duration
	maxBytes           units.Base2Bytes
	minTime, maxTime   model.Duration
	shipFormerWAL      bool
	noLockfile         bool
	checkpointInMemory bool
	checkpointBatch    int
	flushDeadline      model.Duration
	heartbeat          model.Duration

	listenAddresses []string
	webConfigFile   string
	enableLifecycle bool
	enablePprof     bool
	externalURL     string
	routePrefix     string
	readTimeout     model.Duration
	maxConnections  int

	adjustTimestamps   bool
	timestampTolerance time.Duration
	discoveryInterval  model.Duration
	bodySizeLimit      units.Base2Bytes
	labelLimit         uint

	scope          string
	kubeconfig     string
	leaseName      string
	leaseNamespace string
	leaseDuration  model.Duration

	featureNames []string
	features     features
	ignored      map[string]*string // flags of a Prometheus that mean nothing here

	autoGomaxprocs  bool
	autoGomemlimit  bool
	gomemlimitRatio float64
	logLevel        string
	logFormat       string
}

// parse returns the command that was asked for, or "" and the exit code when
// there is nothing more to do.
func (f *flags) parse(args []string, stdout, stderr io.Writer) (command string, code int) {
	f.started = time.Now()
	app := kingpin.New("torchbearer", "A lightweight Prometheus agent: scrapes what is on its node and ships it by remote write, with mandatory external labels.")
	ended, endCode := false, exitClean
	app.UsageWriter(stdout).ErrorWriter(stderr).Terminate(func(c int) { ended, endCode = true, c })
	app.Version(version.Print("torchbearer"))
	app.HelpFlag.Short('h')

	app.Command(runCommand, "Run the agent. This is what is done without a command.").Default()
	checks := app.Command("check", "Check without starting anything.")
	check := checks.Command("config", "Check config files as the agent would read them: exits with 0 if all are good, else with 2.")
	check.Arg("file", "Config file. Can be repeated.").Required().StringsVar(&f.checkFiles)
	check.Flag("lint", "Also exit with 2 when there are only hints.").BoolVar(&f.checkLint)
	check.Flag("syntax-only", "Do not ask whether the files that a config names (certificates, passwords, tokens) are there.").BoolVar(&f.checkSyntaxOnly)

	f.live.flags(checks.Command("live", "Find out what the config of --config.file would do where this runs, and change nothing: discover, scrape each target once, ask each destination. Exits with 2 if the config is bad or nothing could be found out; see --strict."))
	prepare := app.Command(prepareCommand, "Make a data directory and give it to a user, as root: for an init container, where the agent is not root and the directory is the node's.")
	prepare.Flag("owner", "User and group, as numbers.").PlaceHolder("<uid>:<gid>").Required().StringVar(&f.prepare.owner)
	prepare.Arg("directory", "The data directory.").Required().StringVar(&f.prepare.dir)

	f.explain.register(app)
	f.support.flags(app.Command(supportCommand, "Get a support bundle from a running agent: one tar.gz with its config (secrets hidden), ledger, targets, metrics, goroutines, heap, last warnings and more."))

	f.configFlags(app)
	f.storageFlags(app)
	f.webFlags(app)
	f.scrapeFlags(app)
	f.clusterFlags(app)
	f.processFlags(app)
	f.movedFlags(app)

	command, err := app.Parse(args)
	if ended {
		return "", endCode
	}
	if err == nil {
		err = f.validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "torchbearer: %s; torchbearer --help lists all flags\n", err)
		return "", exitUsage
	}
	f.remember(app)
	return command, exitClean
}

func (f *flags) configFlags(app *kingpin.Application) {
	app.Flag("config.file", "Configuration file path.").
		Default("/etc/torchbearer/torchbearer.yaml").StringVar(&f.configFile)
	app.Flag("config.auto-reload", "Reload when the configuration file, or one of its scrape_config_files, has changed.").
		Default("true").BoolVar(&f.autoReload)
	app.Flag("config.auto-reload-interval", "How often to look whether the configuration has changed.").
		Default("30s").SetValue(&named{"--config.auto-reload-interval", &f.autoReloadInterval})
	app.Flag("config.ignore-server-sections", "Ignore sections that are for a Prometheus server (alerting, rule_files, remote_read, storage.tsdb) with a warning each, instead of refusing the configuration.").
		BoolVar(&f.ignoreServerSections)
	app.Flag("labels.required", "Comma separated external labels that a configuration must set, and that no target can change. agent.required_labels in the configuration file replaces it.").
		Default("clustername,environment").StringVar(&f.requiredLabels)
}

func (f *flags) storageFlags(app *kingpin.Application) {
	app.Flag("storage.agent.path", "Data directory: the log of what is not sent yet, and the last good configuration.").
		Default("data-agent/").StringVar(&f.storagePath)
	app.Flag("storage.agent.wal-compression", "Compress the log. If false, --storage.agent.wal-compression-type is ignored.").
		Default("true").BoolVar(&f.walCompression)
	app.Flag("storage.agent.wal-compression-type", "Compression algorithm of the log: snappy or zstd.").
		Default(compression.Snappy).SetValue(&choice{&f.walCompressionType, "--storage.agent.wal-compression-type", []string{compression.Snappy, compression.Zstd}})
	app.Flag("storage.agent.wal-segment-size", "Size at which to split the files of the log. Example: 100MB").
		Hidden().PlaceHolder("<bytes>").SetValue(&named{"--storage.agent.wal-segment-size", &size{&f.walSegmentSize}})
	app.Flag("storage.agent.wal-truncate-frequency", "How often to remove what is old from the log.").
		Hidden().PlaceHolder("<duration>").SetValue(&named{"--storage.agent.wal-truncate-frequency", &f.truncateFrequency})
	app.Flag("storage.agent.max-bytes", "Disk space that the data directory may take, of samples that could not be sent yet above all. Over it the oldest go, and are counted as lost for each destination that was not sent them.").
		Default("2GiB").SetValue(&named{"--storage.agent.max-bytes", &size{&f.maxBytes}})
	app.Flag("storage.agent.retention.min-time", "Minimum age of a series without samples before the log may forget it.").
		Default("5m").SetValue(&named{"--storage.agent.retention.min-time", &f.minTime})
	app.Flag("storage.agent.retention.max-time", "How long samples that could not be sent are kept, and how long a destination that was removed from the configuration may come back and go on where it was.").
		Default("24h").SetValue(&named{"--storage.agent.retention.max-time", &f.maxTime})
	app.Flag("storage.agent.ship-former-wal", "Ship also the samples in a data directory that Prometheus's agent has left. Which of them it had sent is not known: they may arrive twice.").
		BoolVar(&f.shipFormerWAL)
	app.Flag("storage.agent.no-lockfile", "Do not lock the data directory.").
		BoolVar(&f.noLockfile)
	app.Flag("storage.agent.checkpoint-from-in-memory-series", "Use only in-memory series data when building a checkpoint.").
		Default("true").BoolVar(&f.checkpointInMemory)
	app.Flag("storage.agent.checkpoint-batch-size", "Series in one record of a checkpoint. Has no effect without --storage.agent.checkpoint-from-in-memory-series.").
		Default("1000").IntVar(&f.checkpointBatch)
	app.Flag("storage.remote.flush-deadline", "How long a stop may take to end scrapes and to send what is logged. What is not sent by then is sent after the next start.").
		Default("5s").SetValue(&named{"--storage.remote.flush-deadline", &f.flushDeadline})
}

func (f *flags) webFlags(app *kingpin.Application) {
	app.Flag("web.listen-address", "Address to listen on for API and telemetry. Can be repeated.").
		Default("0.0.0.0:9090").StringsVar(&f.listenAddresses)
	app.Flag("web.config.file", "File that enables TLS or basic authentication, see https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md").
		StringVar(&f.webConfigFile)
	app.Flag("web.enable-lifecycle", "Enable reload by HTTP request to /-/reload.").
		BoolVar(&f.enableLifecycle)
	app.Flag("web.enable-pprof", "Answer /debug/pprof to all clients, not to those of the loopback interface only.").
		BoolVar(&f.enablePprof)
	app.Flag("web.external-url", "The URL under which the agent is reachable from outside, for example behind a reverse proxy. Its path prefixes all routes unless --web.route-prefix is given.").
		PlaceHolder("<URL>").StringVar(&f.externalURL)
	app.Flag("web.route-prefix", "Prefix of all routes. Defaults to the path of --web.external-url.").
		PlaceHolder("<path>").StringVar(&f.routePrefix)
	app.Flag("web.read-timeout", "Maximum duration of reading a request, and of an idle connection.").
		Default("5m").SetValue(&named{"--web.read-timeout", &f.readTimeout})
	app.Flag("web.max-connections", "Maximum number of simultaneous connections across all listeners.").
		Default("512").IntVar(&f.maxConnections)
}

func (f *flags) scrapeFlags(app *kingpin.Application) {
	app.Flag("scrape.body-size-limit", "body_size_limit of jobs whose configuration has none: a longer answer, uncompressed, fails the scrape. 0 is no limit, but one label of 16 MiB ends the process.").
		Default("15MiB").SetValue(&named{"--scrape.body-size-limit", &size{&f.bodySizeLimit}})
	app.Flag("scrape.label-limit", "label_limit of jobs whose configuration has none: a sample with more labels fails the scrape. 0 is no limit.").
		Default("1000").UintVar(&f.labelLimit)
	app.Flag("scrape.adjust-timestamps", "Adjust scrape timestamps by up to scrape.timestamp-tolerance to align them to the intended schedule.").
		Hidden().Default("true").BoolVar(&f.adjustTimestamps)
	app.Flag("scrape.timestamp-tolerance", "See scrape.adjust-timestamps.").
		Hidden().Default("2ms").DurationVar(&f.timestampTolerance)
	app.Flag("scrape.discovery-reload-interval", "How often changed targets are taken up.").
		Hidden().Default("500ms").SetValue(&named{"--scrape.discovery-reload-interval", &f.discoveryInterval})
}

func (f *flags) clusterFlags(app *kingpin.Application) {
	app.Flag("scrape.scope", "Which jobs this agent takes part in: node (those of what is on a node), cluster (those that one agent of the cluster scrapes) or all. agent.scopes in the configuration file says which job is which.").
		Default(string(targets.PartAll)).SetValue(&choice{&f.scope, "--scrape.scope", []string{string(targets.PartAll), string(targets.PartNode), string(targets.PartCluster)}})
	app.Flag("kubernetes.kubeconfig", "Kubeconfig of the cluster that the agent belongs to, for its lease. Defaults to what a pod is given; outside Kubernetes there is none, and everything is scraped.").
		PlaceHolder("<file>").StringVar(&f.kubeconfig)
	app.Flag("lease.name", "Name of the Lease whose holder scrapes the cluster-scoped jobs. Agents that share their jobs share it.").
		Default("torchbearer").StringVar(&f.leaseName)
	app.Flag("lease.namespace", "Namespace of the Lease. Defaults to that of the agent's pod.").
		PlaceHolder("<name>").StringVar(&f.leaseNamespace)
	app.Flag("lease.duration", "How long after the holder's last sign of life another agent takes over. Whole seconds.").
		Default("12s").SetValue(&named{"--lease.duration", &f.leaseDuration})
}

func (f *flags) processFlags(app *kingpin.Application) {
	app.Flag("heartbeat.interval", "How often every destination is told how the agent is, as series torchbearer_agent_*, by which the central Prometheus notices a missing agent. 0 is never.").
		Default("15s").SetValue(&named{"--heartbeat.interval", &f.heartbeat})
	app.Flag("enable-feature", "Comma separated feature names to enable. Can be repeated. Those of Prometheus are known: "+featureList()).
		PlaceHolder("<name>").StringsVar(&f.featureNames)
	app.Flag("agent", "Accepted for those who come from Prometheus: torchbearer is always an agent.").Bool()
	app.Flag("auto-gomaxprocs", "Set GOMAXPROCS to the CPU quota of the container.").
		Default("true").BoolVar(&f.autoGomaxprocs)
	app.Flag("auto-gomemlimit", "Set GOMEMLIMIT by the memory limit of the container or the system.").
		Default("true").BoolVar(&f.autoGomemlimit)
	app.Flag("auto-gomemlimit.ratio", "GOMEMLIMIT as part of that limit.").
		Default("0.9").FloatVar(&f.gomemlimitRatio)
	app.Flag("log.level", "Only log messages with the given severity or above: debug, info, warn or error. runtime.log_level in the configuration file replaces it.").
		Default("info").SetValue(&choice{&f.logLevel, "--log.level", []string{"debug", "info", "warn", "error"}})
	app.Flag("log.format", "Output format of log messages: logfmt or json.").
		Default("logfmt").SetValue(&choice{&f.logFormat, "--log.format", []string{"logfmt", "json"}})
}
