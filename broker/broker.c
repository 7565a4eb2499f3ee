/*
 * broker: owns all the parts, joins them, and turns.
 *
 * One turn is: ask who is ready, serve them, users in turn, as far as the work of one turn goes, then in this order: read the
 * dead to their end, write to everybody who got something, free what closed, empty the slab, free what ended. Nothing outside
 * that order writes or frees, which is why everything else may be called from anywhere.
 *
 *   RUNNING ── SIGTERM, or our socket was taken away ──> DRAINING ── all left, or 5 s ──> DONE
 *   RUNNING ── idle ──> DONE;   any ── second signal ──> DONE
 *   RUNNING ── SIGHUP ──> RUNNING, as configured now
 */
#include "broker.h"
#include "clock.h"
#include "error.h"
#include "notify.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CHECK_MS 10000u
#define DRAIN_MS 5000u
#define SETTLE_MS 3000u /* for processes of an earlier run to take their names again, before anybody else */

static void event_after(struct event *event, unsigned ms)
{
	const struct timeval t = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) };

	(void)event_add(event, &t);
}

/* Connections; those with other brokers do not count. */
static unsigned clients(const struct broker *b)
{
	return b->sessions.n - b->sessions.n_links;
}

/*
 * Going.
 */

static void begin_drain(struct broker *b, Brood__Parting parting, const char *reason)
{
	log_say(b->log, LOG_DRAIN, FIELD_TEXT("reason", reason), FIELD_NUMBER("sessions", b->sessions.n));
	notify_state("STOPPING=1");
	b->state = BROKER_DRAINING;
	b->restarting = parting == BROOD__PARTING__PARTING_RESTARTING;
	rendezvous_close(&b->rendezvous);
	listeners_deinit(&b->listeners);
	links_close(&b->links);
	sessions_goodbye(&b->sessions, parting);
	event_after(&b->drain, DRAIN_MS);
}

static void on_signal(evutil_socket_t number, short what, void *data)
{
	struct broker *b = data;

	(void)what;
	if (b->state == BROKER_RUNNING)
		begin_drain(b, BROOD__PARTING__PARTING_STOPPING, number == SIGINT ? "SIGINT" : "SIGTERM");
	else
		b->state = BROKER_DONE;
}

/* Another one takes over: everybody is told to come back to it, and nothing is waited for. */
static void on_restart(evutil_socket_t number, short what, void *data)
{
	struct broker *b = data;

	(void)number;
	(void)what;
	if (b->state == BROKER_RUNNING)
		begin_drain(b, BROOD__PARTING__PARTING_RESTARTING, "SIGUSR2");
}

static void on_drain(evutil_socket_t fd, short what, void *data)
{
	struct broker *b = data;

	(void)fd;
	(void)what;
	b->state = BROKER_DONE;
}

static void on_check(evutil_socket_t fd, short what, void *data)
{
	struct broker *b = data;
	const struct listener *lost = listener_lost(&b->listeners);
	const char *address = lost ? lost->text : NULL;
	uint64_t rings;

	(void)what;
	(void)!read(fd, &rings, sizeof(rings));
	sessions_expire(&b->sessions, time(NULL));
	if (!rendezvous_check(&b->rendezvous))
		address = b->fifo_address;
	if (!address || b->state != BROKER_RUNNING)
		return;
	log_say(b->log, LOG_SOCKET_LOST, FIELD_TEXT("address", address));
	begin_drain(b, BROOD__PARTING__PARTING_RESTARTING, "socket.lost");
}

/* 1: nobody is coming at this moment, and nobody can any more. 0: we stay. */
static int leave(struct broker *b)
{
	int gone;

	if (rendezvous_leave(&b->rendezvous) <= 0)
		return 0;
	gone = listeners_leave(&b->listeners);
	if (!gone)
		(void)rendezvous_return(&b->rendezvous);
	return gone;
}

static void on_idle(evutil_socket_t fd, short what, void *data)
{
	struct broker *b = data;
	int gone;

	(void)fd;
	(void)what;
	if (clients(b) > 0 || b->absences.n > 0 || b->state != BROKER_RUNNING)
		return;
	gone = leave(b);
	log_say(b->log, LOG_IDLE, FIELD_TEXT("then", gone ? "leave" : "stay"));
	if (gone)
		b->state = BROKER_DONE;
}

static void on_grace(evutil_socket_t fd, short what, void *data)
{
	struct broker *b = data;

	(void)fd;
	(void)what;
	life_end_grace(&b->life);
}

static void on_settle(evutil_socket_t fd, short what, void *data)
{
	struct broker *b = data;

	(void)fd;
	(void)what;
	registry_settle(&b->registry);
	links_settle(&b->links);
	desk_settle(&b->desk);
}

/*
 * Coming.
 */

/* The soft limit of 1024 descriptors is for programs that use select(). */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static struct event_base *make_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
	    event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME) == 0 &&
	    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

static enum process_transport transport_of(enum address_kind kind)
{
	if (kind == ADDRESS_TLS)
		return TRANSPORT_TLS;
	return kind == ADDRESS_UNIX ? TRANSPORT_UNIX : TRANSPORT_TCP;
}

static void on_taken(void *data, int fd, enum address_kind kind)
{
	struct broker *b = data;
	struct ucred peer = { .uid = UINT32_MAX };
	socklen_t n = sizeof(peer);
	struct session *s;

	if (kind == ADDRESS_UNIX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0) {
		close(fd);
		return;
	}
	s = session_new(&b->sessions, fd, fd, transport_of(kind), peer.uid);
	if (s && kind == ADDRESS_TLS)
		session_secure(s, b->tls);
	if (s)
		session_admit(s);
}

/* Who can write into the directory is its user, or root. */
static void on_pair(void *data, int in_fd, int out_fd)
{
	struct broker *b = data;
	struct session *s = session_new(&b->sessions, in_fd, out_fd, TRANSPORT_FIFO, (uint32_t)geteuid());

	if (s)
		session_admit(s);
}

/*
 * Rings for ever, so not as a time-out of libevent: as long as one of those is armed, every wait is given a limit, which
 * costs each round trip of a message two microseconds.
 */
static int start_check(struct broker *b)
{
	const struct itimerspec every = { { CHECK_MS / 1000, 0 }, { CHECK_MS / 1000, 0 } };

	b->check_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (b->check_fd < 0 || timerfd_settime(b->check_fd, 0, &every, NULL) < 0)
		return -errno;
	event_assign(&b->check, b->base, b->check_fd, EV_READ | EV_PERSIST, on_check, b);
	return event_add(&b->check, NULL) < 0 ? -ENOMEM : 0;
}

static void on_hangup(evutil_socket_t, short, void *);

static int assign_events(struct broker *b)
{
	evsignal_assign(&b->terminate, b->base, SIGTERM, on_signal, b);
	evsignal_assign(&b->interrupt, b->base, SIGINT, on_signal, b);
	evsignal_assign(&b->restart, b->base, SIGUSR2, on_restart, b);
	evsignal_assign(&b->hangup, b->base, SIGHUP, on_hangup, b);
	event_assign(&b->idle, b->base, -1, 0, on_idle, b);
	event_assign(&b->drain, b->base, -1, 0, on_drain, b);
	event_assign(&b->grace, b->base, -1, 0, on_grace, b);
	event_assign(&b->settle, b->base, -1, 0, on_settle, b);
	if (evsignal_add(&b->terminate, NULL) < 0 || evsignal_add(&b->interrupt, NULL) < 0 ||
	    evsignal_add(&b->restart, NULL) < 0 || evsignal_add(&b->hangup, NULL) < 0)
		return -ENOMEM;
	if (!b->identity.unclean)
		return 0;
	b->registry.settling = 1;
	event_after(&b->settle, SETTLE_MS < b->config->away_ms ? SETTLE_MS : b->config->away_ms);
	event_after(&b->grace, b->config->away_ms);
	return 0;
}

static uint64_t pid_space(void)
{
	struct stat s;

	return stat("/proc/self/ns/pid", &s) == 0 ? s.st_ino : 0;
}

static void on_denied(void *data, const struct process *from, const struct process *to)
{
	struct broker *b = data;

	if (from->proxy)
		log_say(b->log, LOG_SEND_REFUSED, FIELD_ID("id", from->id),
			FIELD_TEXT("user", users_text(&b->links.users, from->uid)), FIELD_ID("to", to->id),
			FIELD_USER("of", to->uid));
	else
		log_say(b->log, LOG_SEND_REFUSED, FIELD_ID("id", from->id), FIELD_USER("uid", from->uid),
			FIELD_ID("to", to->id), FIELD_USER("of", to->uid));
}

/* Namespaces of the same number are of the same host only if this is the same, too. */
static uint64_t boot_id(void)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	char text[64] = "";
	unsigned long long a = 0, b = 0, c = 0;
	int n;

	if (!file)
		return 0;
	n = fgets(text, sizeof(text), file) ? sscanf(text, "%8llx-%4llx-%4llx-", &a, &b, &c) : 0;
	fclose(file);
	return n == 3 ? a << 32 | b << 16 | c : 0;
}

/* What the parts know of each other. */
static void join_parts(struct broker *b)
{
	b->registry.policy = &b->policy;
	b->router.denied = on_denied;
	b->router.denied_data = b;
	b->vigil = (struct vigil){ .router = &b->router };
	b->life = (struct life){ &b->registry, &b->router, b->log, &b->absences, &b->exits };
	b->welcome = (struct welcome){
		.registry = &b->registry,
		.router = &b->router,
		.life = &b->life,
		.identity = &b->identity,
		.log = b->log,
		.node = b->config->node,
		.pid = (uint32_t)getpid(),
		.pid_space = pid_space(),
	};
	b->control = (struct control){
		.registry = &b->registry,
		.router = &b->router,
		.exits = &b->exits,
		.node = b->config->node,
		.pid_space = b->welcome.pid_space,
		.boot = boot_id(),
		.started_ms = clock_ms(),
		.refused = &b->sessions.refused,
		.private = b->config->private,
		.links = &b->links,
		.log = b->log,
	};
	b->desk = (struct desk){ .registry = &b->registry,
				 .router = &b->router,
				 .life = &b->life,
				 .welcome = &b->welcome,
				 .control = &b->control,
				 .links = &b->links };
}

static int start_links(struct broker *b, char *why, size_t n)
{
	b->links = (struct links){
		.base = b->base,
		.sessions = &b->sessions,
		.registry = &b->registry,
		.router = &b->router,
		.life = &b->life,
		.control = &b->control,
		.log = b->log,
		.node = b->config->node,
		.owner = b->router.owner,
		.epoch = b->identity.first_epoch,
	};
	b->control.users = &b->links.users;
	b->policy.abroad = users_foreign_text;
	b->policy.abroad_data = &b->links.users;
	return links_init(&b->links, b->home, why, n);
}

static int make_parts(struct broker *b)
{
	int r;

	accounts_init(&b->accounts, &b->config->limits);
	registry_init(&b->registry, &b->accounts, desk_named, NULL);
	exits_init(&b->exits, &b->config->limits);
	router_init(&b->router, &b->registry, geteuid(), b->identity.first_epoch, b->identity.unclean);
	join_parts(b);
	b->base = make_base();
	if (!b->base)
		return -ENOMEM;
	absences_init(&b->absences, b->base, &b->config->limits, b->config->away_ms, &b->router.grace, life_over,
		      &b->life);
	r = assign_events(b);
	if (r == 0)
		r = desk_init(&b->desk);
	if (r == 0)
		r = start_check(b);
	if (r == 0)
		r = sessions_init(&b->sessions, b->base, b->log, &b->router, &desk_ops, &b->desk);
	if (r == 0)
		r = listeners_init(&b->listeners, b->base, b->log, on_taken, b);
	return r;
}

/*
 * Listening.
 */

static int is_listed(const struct config *config, const struct address *a)
{
	for (unsigned i = 0; i < config->n_listen; i++)
		if (address_equal(a, &config->listen[i]))
			return 1;
	return 0;
}

static int listen_at_home(struct broker *b, char *why, size_t n)
{
	char text[PATH_MAX + 16];

	snprintf(text, sizeof(text), "unix:%s/sock", b->home->path);
	if (address_parse(text, &b->at_home, why, n) < 0)
		return -EINVAL;
	return is_listed(b->config, &b->at_home) ? 0 : listener_add(&b->listeners, &b->at_home, why, n);
}

/* In our own directory only, because its being ours alone is who the clients are. */
static int listen_on_fifo(struct broker *b, const struct address *a, char *why, size_t n)
{
	const char *directory = address_directory(a);
	char text[PATH_MAX + 16];
	struct address home;

	if (directory[0] && strcmp(directory, b->home->path) != 0) {
		snprintf(why, n,
			 "fifo:%s: FIFOs are in the broker's own directory, %s; write fifo: alone, or choose that "
			 "directory with --dir",
			 directory, b->home->path);
		return -EINVAL;
	}
	snprintf(text, sizeof(text), "fifo:%s", b->home->path);
	if (address_parse(text, &home, why, n) < 0)
		return -EINVAL;
	if (b->rendezvous.base) /* said twice, or before */
		return 0;
	address_format(&home.sockaddr, home.length, b->fifo_address, sizeof(b->fifo_address));
	return rendezvous_open(&b->rendezvous, b->base, b->log, b->home, on_pair, b, why, n);
}

static int wants_fifo(const struct config *config)
{
	for (unsigned i = 0; i < config->n_listen; i++)
		if (config->listen[i].kind == ADDRESS_FIFO)
			return 1;
	return 0;
}

/* Unless we do already. */
static int listen_there(struct broker *b, const struct address *a, char *why, size_t n)
{
	if (a->kind == ADDRESS_FIFO)
		return listen_on_fifo(b, a, why, n);
	return listener_has(&b->listeners, a) ? 0 : listener_add(&b->listeners, a, why, n);
}

/* What the configuration and the service manager say. */
static int listen_as_told(struct broker *b, char *why, size_t n)
{
	int first, r = 0;

	b->inherited = notify_sockets(&first);
	for (int fd = first; r == 0 && fd < first + b->inherited; fd++)
		r = listener_inherit(&b->listeners, fd, why, n);
	for (unsigned i = 0; r == 0 && i < b->config->n_listen; i++)
		r = listen_there(b, &b->config->listen[i], why, n);
	return r;
}

/* The first of those that this configuration wants; "": none. */
static const char *text_of(const struct broker *b, const struct config *config, enum address_kind kind)
{
	for (unsigned i = 0; i < b->listeners.n; i++) {
		const struct listener *one = &b->listeners.all[i];

		if (one->address.kind == kind && (one->inherited || is_listed(config, &one->asked)))
			return one->text;
	}
	return "";
}

/* A place where scripts find the port. */
static int publish(struct broker *b, const char *file, const char *text, char *why, size_t n)
{
	char line[ADDRESS_TEXT + 1];
	int r;

	if (text[0] == '\0') {
		home_remove(b->home, file);
		return 0;
	}
	snprintf(line, sizeof(line), "%s\n", text);
	r = home_write(b->home, file, line, strlen(line));
	if (r < 0)
		snprintf(why, n, "file %s/%s: %s; choose another directory with --dir", b->home->path, file,
			 strerror(-r));
	return r;
}

/* TCP needs the cookie; TLS does for clients without a certificate. */
static int publish_net(struct broker *b, const struct config *config, char *why, size_t n)
{
	const char *tcp = text_of(b, config, ADDRESS_TCP), *tls = text_of(b, config, ADDRESS_TLS);
	int r = tcp[0] || tls[0] ? identity_open_cookie(&b->identity, config->token_file, why, n) : 0;

	if (r == 0)
		r = publish(b, "tcp", tcp, why, n);
	return r == 0 ? publish(b, "tls", tls, why, n) : r;
}

/*
 * Certificates.
 */

static const char *path_or_null(const char *path)
{
	return path[0] ? path : NULL;
}

/* A context that is there reads the files again; else it is made. */
static int load_context(struct tls_context **context, int server, const struct tls_files *files,
			enum tls_clients clients, struct tls_fault *fault)
{
	if (*context)
		return tls_reload(*context, files, clients, fault);
	*context = server ? tls_server(files, clients, fault) : tls_client(files, fault);
	return *context ? 0 : -EINVAL;
}

/* What these settings say counts from now on, all of it or nothing. 0, or negative errno with `why`. */
static int load_tls(struct broker *b, const struct config *c, char *why, size_t n)
{
	const struct tls_files files = { path_or_null(c->tls.ca), path_or_null(c->tls.certificate),
					 path_or_null(c->tls.key), path_or_null(c->tls.crl) };
	enum tls_clients clients = files.ca ? c->tls.clients : TLS_CLIENTS_NONE;
	struct tls_fault fault;
	int r = 0;

	if (!files.certificate)
		return 0;
	r = load_context(&b->tls, 1, &files, clients, &fault);
	if (r == 0 && files.ca)
		r = load_context(&b->tls_dial, 0, &files, clients, &fault);
	b->links.tls = b->tls_dial;
	if (r < 0)
		snprintf(why, n, "%s: %s; %s", fault.name, fault.text, error_reason(fault.name)->hint);
	return r;
}

static void name_addresses(struct broker *b)
{
	b->welcome.unix_address = listener_text(&b->listeners, ADDRESS_UNIX);
	b->welcome.tcp_address = listener_text(&b->listeners, ADDRESS_TCP);
	b->welcome.fifo_address = b->fifo_address;
}

/*
 * The socket in the directory comes last: whoever sees it finds the cookie and the port there, too. Inherited sockets
 * replace it.
 */
static int listen_everywhere(struct broker *b, char *why, size_t n)
{
	int r = load_tls(b, b->config, why, n);

	if (r == 0)
		r = listen_as_told(b, why, n);
	if (r == 0)
		r = publish_net(b, b->config, why, n);
	if (r == 0 && b->inherited == 0)
		r = listen_at_home(b, why, n);
	name_addresses(b);
	return r;
}

static void say_listening(struct broker *b, const char *text, int first, char *state, size_t n)
{
	size_t used = strlen(state);

	log_say(b->log, LOG_LISTEN, FIELD_TEXT("address", text));
	snprintf(state + used, n - used, "%s %s", first ? "" : ",", text);
}

/* To the log and the service manager. */
static void say_addresses(struct broker *b)
{
	char state[(LISTENERS_MOST + 1) * (ADDRESS_TEXT + 2) + 64] = "READY=1\nSTATUS=listening on";

	for (unsigned i = 0; i < b->listeners.n; i++)
		say_listening(b, b->listeners.all[i].text, i == 0, state, sizeof(state));
	if (b->rendezvous.base)
		say_listening(b, b->fifo_address, b->listeners.n == 0, state, sizeof(state));
	notify_state(state);
}

/*
 * Changing: a new configuration counts as a whole or not at all. What can fail is done first, and undone if it does.
 */

static void say_failed(void *data, const char *line)
{
	log_say(((struct broker *)data)->log, LOG_RELOAD_FAILED, FIELD_TEXT("text", line));
}

static void say_later(void *data, const char *line)
{
	log_say(((struct broker *)data)->log, LOG_RELOAD_LATER, FIELD_TEXT("text", line));
}

/* Stop listening where `before` says so, and `now` does not. */
static void listen_less(struct broker *b, const struct config *before, const struct config *now)
{
	for (unsigned i = 0; i < before->n_listen; i++) {
		const struct address *a = &before->listen[i];

		if (a->kind != ADDRESS_FIFO && !is_listed(now, a) &&
		    (b->inherited > 0 || !address_equal(a, &b->at_home)))
			listener_remove(&b->listeners, a);
	}
	if (wants_fifo(now) || !wants_fifo(before))
		return;
	rendezvous_close(&b->rendezvous);
	b->fifo_address[0] = '\0';
}

/* Listen as well where the new configuration says so. 0, or negative errno with `why`, and all is as before. */
static int listen_more(struct broker *b, const struct config *fresh, char *why, size_t n)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < fresh->n_listen; i++)
		r = listen_there(b, &fresh->listen[i], why, n);
	if (r == 0)
		r = load_tls(b, fresh, why, n);
	if (r == 0)
		r = publish_net(b, fresh, why, n);
	if (r < 0)
		listen_less(b, fresh, b->config);
	return r;
}

/* What the parts know stays where it is. */
static void replace_policy(struct broker *b, struct policy *fresh)
{
	fresh->abroad = b->policy.abroad;
	fresh->abroad_data = b->policy.abroad_data;
	policy_free(&b->policy);
	b->policy = *fresh;
	sessions_expel(&b->sessions, &b->policy);
	desk_review(&b->desk);
	links_settle(&b->links); /* who asks from other nodes may find others now */
}

/* Nothing here can fail. */
static void apply(struct broker *b, struct config *fresh, struct policy *policy)
{
	config_keep_fixed(fresh, b->config, say_later, b);
	listen_less(b, b->config, fresh);
	name_addresses(b);
	config_deinit(b->config);
	*b->config = *fresh;
	b->log->level = fresh->level;
	absences_allow(&b->absences, fresh->away_ms);
	sessions_relimit(&b->sessions);
	sessions_review(&b->sessions);
	replace_policy(b, policy);
	links_configure(&b->links, b->config);
	event_del(&b->idle); /* the end of the turn begins it again, with the new time */
	log_say(b->log, LOG_RELOAD_DONE, FIELD_NUMBER("files", fresh->n_files));
}

static void reload(struct broker *b)
{
	struct config fresh;
	struct policy policy = policy_default;
	char why[PATH_MAX + 256] = "";
	int r = config_again(&fresh, b->config, say_failed, b);

	if (r == 0)
		r = policy_make(&policy, &fresh, b->router.owner, why, sizeof(why));
	if (r == 0)
		r = listen_more(b, &fresh, why, sizeof(why));
	if (r < 0 && why[0])
		say_failed(b, why);
	if (r < 0) {
		policy_free(&policy);
		config_deinit(&fresh);
		return;
	}
	apply(b, &fresh, &policy);
}

/* Who runs it by hand and closes the terminal does not mean a reload. */
static int terminal_is_gone(const struct broker *b)
{
	struct pollfd terminal = { .fd = STDERR_FILENO };

	return b->has_terminal && poll(&terminal, 1, 0) == 1 && (terminal.revents & (POLLHUP | POLLERR));
}

static void on_hangup(evutil_socket_t number, short what, void *data)
{
	struct broker *b = data;
	char state[80];

	(void)number;
	(void)what;
	if (b->state != BROKER_RUNNING)
		return;
	if (terminal_is_gone(b)) {
		begin_drain(b, BROOD__PARTING__PARTING_STOPPING, "SIGHUP");
		return;
	}
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_ms() * 1000);
	notify_state(state);
	reload(b);
	say_addresses(b);
}

static void say_ready(struct broker *b)
{
	say_addresses(b);
	log_say(b->log, LOG_READY, FIELD_NUMBER("pid", getpid()), FIELD_TEXT("dir", b->home->path),
		FIELD_TEXT("node", b->config->node), FIELD_NUMBER("epoch", b->identity.epoch));
}

int broker_init(struct broker *b, struct config *config, const struct home *home, struct log *log, char *why, size_t n)
{
	int r;

	memset(b, 0, sizeof(*b));
	b->config = config;
	b->home = home;
	b->log = log;
	b->has_terminal = isatty(STDERR_FILENO);
	raise_limits();
	signal(SIGPIPE, SIG_IGN);
	r = policy_make(&b->policy, config, geteuid(), why, n);
	if (r == 0)
		r = identity_open(&b->identity, home, (uint32_t)time(NULL), why, n);
	if (r < 0)
		return r;
	r = make_parts(b);
	if (r < 0) {
		snprintf(why, n, "cannot start: %s; free memory and descriptors, then try again", strerror(-r));
		return r;
	}
	r = start_links(b, why, n);
	if (r == 0)
		r = listen_everywhere(b, why, n);
	if (r < 0)
		return r;
	say_ready(b);
	links_configure(&b->links, b->config);
	return 0;
}

/*
 * Turning.
 */

/* Nobody is connected: that ends a drain, and begins the time after which an idle broker leaves. */
static void look_at_sessions(struct broker *b)
{
	int armed = event_pending(&b->idle, EV_TIMEOUT, NULL);

	if (clients(b) == 0 && b->state == BROKER_DRAINING)
		b->state = BROKER_DONE;
	if (clients(b) == 0 && b->absences.n == 0 && b->config->idle_ms > 0 && !armed)
		event_after(&b->idle, b->config->idle_ms);
	else if (clients(b) > 0 && armed)
		event_del(&b->idle);
}

/* Who is ready? */
static int look(struct broker *b)
{
	return event_base_loop(b->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static int look_for_a_while(struct broker *b)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < VIGIL_LOOKS && !sessions_are_busy(&b->sessions); i++)
		r = look(b);
	if (!sessions_are_busy(&b->sessions))
		vigil_in_vain(&b->vigil); /* the next wait is asleep, after the turn for whatever else came */
	return r;
}

/* Until something happens. Negative: libevent failed. */
static int wait_for_somebody(struct broker *b)
{
	if (sessions_are_busy(&b->sessions))
		return look(b);
	if (vigil_begin(&b->vigil))
		return look_for_a_while(b);
	return event_base_loop(b->base, EVLOOP_ONCE);
}

void broker_run(struct broker *b)
{
	look_at_sessions(b);
	while (b->state != BROKER_DONE && wait_for_somebody(b) >= 0) {
		sessions_turn(&b->sessions);
		look_at_sessions(b);
	}
	if (clients(b) == 0 && !b->restarting)
		identity_close(&b->identity);
	log_say(b->log, LOG_STOP, FIELD_NUMBER("sessions", b->sessions.n), FIELD_NUMBER("frames", b->router.frames),
		FIELD_NUMBER("bytes", b->router.bytes));
}

/* Those that are away have no session that would do it. */
static void forget_talks(struct broker *b)
{
	struct process *p;

	for (uint32_t at = 0; (p = table_next(&b->registry.processes, &at));)
		control_forget(p);
}

void broker_deinit(struct broker *b)
{
	rendezvous_close(&b->rendezvous);
	listeners_deinit(&b->listeners);
	sessions_deinit(&b->sessions);
	tls_context_free(b->tls);
	tls_context_free(b->tls_dial);
	desk_deinit(&b->desk);
	absences_deinit(&b->absences);
	router_deinit(&b->router);
	links_deinit(&b->links);
	forget_talks(b);
	registry_deinit(&b->registry);
	exits_deinit(&b->exits);
	accounts_deinit(&b->accounts);
	policy_free(&b->policy);
	if (b->base) {
		home_remove(b->home, "tcp");
		home_remove(b->home, "tls");
		event_base_free(b->base);
	}
	if (b->check_fd > 0)
		close(b->check_fd);
	explicit_bzero(&b->identity, sizeof(b->identity));
	memset(b, 0, sizeof(*b));
}
