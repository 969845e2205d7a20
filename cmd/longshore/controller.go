package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // metrics of the API client
	_ "k8s.io/component-base/metrics/prometheus/workqueue"  // metrics of the queue
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"longshore.dev/longshore/apply"
	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
)

// controllerOptions are the flags of `longshore controller`.
type controllerOptions struct {
	connection
	rendering
	desired.Options
	siteDir        string
	deployment     string
	metricsAddress string
	healthAddress  string
	leaderElect    bool
	identity       string
	log            logOptions
}

func controllerCommand(env *environment) *cobra.Command {
	o := &controllerOptions{Options: desired.DefaultOptions()}
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := o.log.build(env.stderr)
			if err != nil {
				return usageError{err}
			}
			defer func() { _ = log.Sync() }()
			return o.run(cmd.Context(), log)
		},
	}
	f := cmd.Flags()
	o.connection.flags(f)
	o.rendering.flags(f)
	f.StringVar(&o.deployment, "deployment", "longshore", "name of the controller's Deployment: when it is deleted, specs with deletionPolicy Foreground are let go")
	f.StringVar(&o.siteDir, "site-dir", "/etc/longshore/site", "directory of the site's kustomize component, read again when it changes")
	f.StringVar(&o.metricsAddress, "metrics-address", ":8080", "address of /metrics; empty for none")
	f.StringVar(&o.healthAddress, "health-address", ":8081", "address of /healthz and /readyz; empty for none")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "act only while holding the lease in the system namespace")
	f.StringVar(&o.identity, "identity", env.lookup("POD_NAME"), "name in the lease; $POD_NAME by default, else the host's name")
	f.DurationVar(&o.VanishGrace, "vanish-grace", o.VanishGrace, "how long a runtime may be without a spec before its nodes are uninstalled")
	f.DurationVar(&o.MismatchGrace, "mismatch-grace", o.MismatchGrace, "how long a node's labels must not match before it counts as deselected")
	o.log.flags(f)
	return cmd
}

// process is one running controller.
type process struct {
	options    *controllerOptions
	log        *zap.Logger
	kube       kubernetes.Interface
	cluster    *informers.Cluster
	controller *controller.Controller
	renderer   *manifests.Renderer
	registry   *prometheus.Registry
}

func (o *controllerOptions) run(ctx context.Context, log *zap.Logger) error {
	klog.SetLogger(zapr.NewLogger(log.Named("client")))
	config, kube, err := o.connect(200)
	if err != nil {
		return err
	}
	if err := reach(ctx, kube); err != nil {
		return err
	}
	log.Info("longshore starts", zap.String("version", version), zap.String("server", config.Host), zap.String("namespace", o.namespace))
	p := &process{options: o, log: log, kube: kube, registry: prometheus.NewRegistry()}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return p.serve(ctx)
}

// serve runs everything until the context ends, and returns when everything has ended.
func (p *process) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: p.kube.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("start events: %w", err)
	}
	defer broadcaster.Shutdown()

	p.renderer = p.options.renderer(p.options.namespace)
	look := func() {}
	cluster, err := informers.New(p.kube, p.options.namespace, p.options.system, func() { look() })
	if err != nil {
		return err
	}
	switch err := cluster.WatchPayloadSecret(ctx); {
	case apierrors.IsForbidden(err):
		p.log.Warn("credentials for private registries are not used: apply the roles of this version and restart", zap.Error(err))
	case err != nil:
		return err
	}
	switch err := cluster.WatchOwn(ctx, p.options.deployment); {
	case apierrors.IsForbidden(err):
		p.log.Warn("specs with deletionPolicy Foreground are not let go when Longshore itself is deleted: apply the roles of this version and restart", zap.Error(err))
	case err != nil:
		return err
	}
	switch err := cluster.WatchPoolMemory(ctx); {
	case apierrors.IsForbidden(err):
		p.log.Warn("pools are remembered in their own annotations only: apply the roles of this version and restart", zap.Error(err))
	case err != nil:
		return err
	}
	p.cluster = cluster
	writer := apply.New(p.kube, cluster, p.options.namespace, p.options.system)
	p.controller = controller.New(controller.Ports{
		Reader: cluster, Rollout: writer, Objects: writer, Access: writer, Pull: writer, Revisions: writer, Status: writer,
		Sight: cluster, Evictions: writer, Finalizer: writer, Memory: writer,
		Events:   apply.NewEvents(broadcaster.NewRecorder(scheme.Scheme, observed.Manager), p.options.namespace),
		Renderer: p.renderer, Clock: clock.RealClock{}, Log: p.log, Metrics: controller.NewMetrics(p.registry),
		PauseImage: p.options.pauseImage,
	}, p.options.Options)
	look = p.controller.Look

	var wg sync.WaitGroup
	defer wg.Wait()
	defer cluster.Stop()
	defer cancel(nil)
	for _, s := range p.servers() {
		wg.Go(func() { p.listen(ctx, s, cancel) })
	}
	p.readSite()
	wg.Go(func() { p.watchSite(ctx) })
	cluster.WatchRights(ctx, clock.RealClock{})
	cluster.Start(ctx)
	if err := cluster.Synced(ctx); err != nil {
		return ended(ctx, err)
	}
	if err := p.lead(ctx); err != nil {
		return err
	}
	return ended(ctx, nil)
}

// ended tells an end that was asked for from one that was not.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(cause, context.Canceled):
		return nil
	}
	return cause
}

// lead runs the controller while the lease is held. At the end the pass under way is finished before the lease is given back.
func (p *process) lead(ctx context.Context) error {
	if !p.options.leaderElect {
		p.controller.Run(ctx)
		return nil
	}
	identity := p.options.identity
	if identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find a name for the lease, give --identity: %w", err)
		}
		identity = host
	}
	electing, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	done := make(chan struct{})
	var leading sync.Once
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "longshore", Namespace: p.options.system},
			Client:     p.kube.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true, Name: "longshore",
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				leading.Do(func() {
					defer close(done)
					p.log.Info("leading", zap.String("identity", identity))
					acting, stop := context.WithCancel(held)
					defer stop()
					defer context.AfterFunc(ctx, stop)()
					p.controller.Run(acting)
				})
			},
			OnStoppedLeading: func() { p.log.Info("not leading any more") },
		},
	})
	if err != nil {
		return fmt.Errorf("set up leader election: %w", err)
	}
	defer context.AfterFunc(ctx, func() {
		leading.Do(func() { close(done) })
		<-done
		resign()
	})()
	elector.Run(electing)
	if ctx.Err() == nil {
		return errors.New("the lease was lost; the process ends so that it starts anew from what is in the cluster")
	}
	return nil
}

// readSite hands the site's component to the renderer before anything is rendered.
func (p *process) readSite() {
	content, err := informers.NewFiles(p.options.siteDir, time.Minute).Read()
	if err == nil {
		err = p.renderer.SetSite(content)
	}
	if err != nil {
		p.log.Error("there is no site component to begin with", zap.String("directory", p.options.siteDir), zap.Error(err))
	}
}

// watchSite hands the site's component to the renderer whenever it changes.
func (p *process) watchSite(ctx context.Context) {
	files := informers.NewFiles(p.options.siteDir, time.Minute)
	changed := func(content map[string][]byte) {
		if err := p.renderer.SetSite(content); err != nil {
			p.controller.Metrics.SiteRefused(time.Now())
			p.log.Error("site component is not in force, the last good one stays so", zap.String("directory", p.options.siteDir), zap.Error(err))
			return
		}
		p.controller.Metrics.SiteInForce()
		p.log.Info("site component is in force for revisions made from now on", zap.String("directory", p.options.siteDir), zap.Int("files", len(content)))
		p.controller.Forget()
	}
	problem := func(err error) { p.log.Warn("site component", zap.Error(err)) }
	if err := files.Watch(ctx, changed, problem); err != nil {
		p.log.Warn("site component is not watched", zap.Error(err))
	}
}

func (p *process) servers() []*http.Server {
	metrics := http.NewServeMux()
	metrics.Handle("/metrics", promhttp.HandlerFor(prometheus.Gatherers{p.registry, withoutProcess{legacyregistry.DefaultGatherer}}, promhttp.HandlerOpts{}))
	health := http.NewServeMux()
	health.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	health.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !p.cluster.HasSynced() {
			http.Error(w, "waiting for the first list of every kind", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	var servers []*http.Server
	for address, handler := range map[string]http.Handler{p.options.metricsAddress: metrics, p.options.healthAddress: health} {
		if address != "" {
			servers = append(servers, &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second})
		}
	}
	return servers
}

// listen serves until the context ends; an address that cannot be had ends the process.
func (p *process) listen(ctx context.Context, s *http.Server, cancel context.CancelCauseFunc) {
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		cancel(fmt.Errorf("serve %s: %w", s.Addr, err))
	}
}
