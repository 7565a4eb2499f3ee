/*
 * links: processes of several nodes that talk to each other, and what cuts, kills, hostile and wrong brokers do to that.
 */
#include "control.pb-c.h"
#include "flow.h"
#include "handle.h"
#include "hosts.h"
#include "papers.h"
#include <brood/pb.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- two programs ------------------------------------------------------------------------------------------------ */

/* A program of ours on one node, and what it was told. */
struct side {
	brood *b;
	brood_peer *other;
	struct diary d;       /* what the asker was told about the service */
	uint64_t next, wrong; /* numbered messages that came to the service */
	unsigned came;
	int echo; /* it sends each back */
	uint64_t echoed;
};

static struct hosts hosts;
static struct side asker, service;

static int serve(const brood_event *e)
{
	struct side *s = e->data;
	brood_msg *m = e->msg;
	s->came++;
	if (m->wants_reply)
		return brood_reply(m, BROOD_MSG(m->type, m->body, m->length));
	if (strcmp(m->type, "numbered") != 0)
		return 0;
	uint64_t number = numbered_read(m);
	s->wrong += number != s->next;
	s->next = number + 1;
	if (s->echo && !s->other)
		assert_int_equal(brood_find(s->b, &s->other, info_of(m->from).address, NULL), 0);
	return 0;
}

/* Send back what came, as far as there is room. */
static void echo(struct side *s)
{
	while (s->echo && s->echoed < s->next && numbered_send(s->other, s->echoed, 16, 0) == 0)
		s->echoed++;
}

static void connect_to(struct side *s, unsigned host, brood_fn *message)
{
	*s = (struct side){ 0 };
	assert_int_equal(brood_connect(&s->b, hosts.all[host].address,
				       BROOD_OPTIONS(.on = BROOD_ON(.message = message), .data = s, .flush_ms = 50)),
			 0);
}

/* Under a name that other nodes find. */
static void begin_service(unsigned host, const char *name)
{
	connect_to(&service, host, serve);
	service.b->open = 1;
	assert_int_equal(brood_register(service.b, name), 0);
	assert_int_equal(brood_sync(service.b, PATIENCE_MS), 0);
}

static void find(struct side *s, const char *name)
{
	assert_int_equal(
		brood_find(s->b, &s->other, name, BROOD_FIND(.on = diary_table, .data = &s->d, .wait_ms = PATIENCE_MS)),
		0);
}

static void turn(void);

/* Until it has found it. */
static void begin_asker(unsigned host, const char *name)
{
	connect_to(&asker, host, NULL);
	find(&asker, name);
	until_by(asker.d.n[BROOD_EVENT_READY] == 1, turn());
}

static void turn(void)
{
	if (asker.b)
		assert_true(brood_process(asker.b, 1) >= 0);
	if (service.b)
		assert_true(brood_process(service.b, asker.b ? 0 : 1) >= 0);
	echo(&service);
}

/* Both work until it is so. */
#define until_both(condition) until_by(condition, turn())

static void end_side(struct side *s)
{
	if (s->b)
		(void)brood_close(s->b);
	s->b = NULL;
}

static void send_number(uint64_t number)
{
	int rc;
	while ((rc = numbered_send(asker.other, number, 16, 0)) == -EAGAIN)
		turn();
	assert_int_equal(rc, 0);
}

static int begin(void **state, int tls)
{
	(void)state;
	hosts_begin(&hosts, 2, tls);
	unsetenv("BROOD_ADDRESS");
	unsetenv("BROOD_FD");
	return 0;
}

static int on_unix_links(void **state)
{
	return begin(state, 0);
}

#ifdef BROOD_TLS
static int on_tls_links(void **state)
{
	return begin(state, 1);
}
#endif

static int end(void **state)
{
	(void)state;
	end_side(&asker);
	end_side(&service);
	hosts_end(&hosts);
	return 0;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void test_messages(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	service.echo = 1;
	begin_asker(ALPHA, "beta/resize");
	for (uint64_t i = 0; i < 1000; i++)
		send_number(i);
	until_both(diary_messages(&asker.d) == 1000);
	assert_int_equal(asker.d.wrong, 0);
	assert_int_equal(service.wrong, 0);
	assert_int_equal(service.next, 1000);
}

/* What the service says by itself reaches the one who wrote to it. */
static void test_requests(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	for (int i = 0; i < 100; i++)
		assert_true(brood_request(asker.other, BROOD_MSG("shop.Order", "12345", 5), PATIENCE_MS, diary_write,
					  &asker.d) > 0);
	until_both(asker.d.n[BROOD_EVENT_REPLY] == 100);
	assert_string_equal(asker.d.type, "shop.Order");
	assert_string_equal(asker.d.body, "12345");
	assert_int_equal(asker.d.code, 0);
}

/* Its sender's clock means nothing there. */
static int check_deadline(const brood_event *e)
{
	struct side *s = e->data;
	s->came++;
	assert_int_equal(e->msg->timeout_ms, -1);
	return 0; /* unanswered */
}

static void test_deadlines_stay_at_home(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	assert_int_equal(brood_on(brood_self(service.b), BROOD_ON(.message = check_deadline), &service), 0);
	begin_asker(ALPHA, "beta/resize");
	assert_true(brood_request(asker.other, BROOD_TEXT("?"), PATIENCE_MS, diary_write, &asker.d) > 0);
	until_both(asker.d.n[BROOD_EVENT_REPLY] == 1);
	assert_string_equal(asker.d.error, "unanswered");
	assert_int_equal(service.came, 1);
}

/* ---- what breaks ------------------------------------------------------------------------------------------------- */

#define MANY 100000

/* Send `many`, which are echoed, and `harm` is done each time so many more have come. */
static void send_many(uint64_t many, uint64_t each, void (*harm)(unsigned))
{
	unsigned times = 0;
	for (uint64_t i = 0; i < many; i++) {
		send_number(i);
		if (i % each == each / 2)
			harm(times++);
	}
	until_both(diary_messages(&asker.d) == many);
	assert_int_equal(asker.d.wrong, 0);
	assert_int_equal(service.wrong, 0);
	assert_int_equal(service.next, many);
}

static void cut(unsigned times)
{
	unsigned before = host_said(&hosts, ALPHA, " link.up ");
	(void)times;
	hosts_cut(&hosts);
	until_both(host_said(&hosts, ALPHA, " link.up ") > before);
}

static void test_order_while_it_is_cut(void **state)
{
	(void)state;
	hosts_forward(&hosts);
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	service.echo = 1;
	begin_asker(ALPHA, "beta/resize");
	send_many(MANY, 5000, cut);
	assert_int_equal(host_said(&hosts, ALPHA, " link.up "), 1 + MANY / 5000);
	assert_int_equal(asker.d.n[BROOD_EVENT_AWAY], asker.d.n[BROOD_EVENT_BACK]);
}

static void kill_one(unsigned times)
{
	unsigned which = times % 2 ? BETA : ALPHA;
	assert_int_equal(WTERMSIG(host_stop(&hosts, which, SIGKILL)), SIGKILL);
	for (int i = 0; i < 50; i++)
		turn();
	host_start(&hosts, which);
}

static void test_brokers_are_killed(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	service.echo = 1;
	begin_asker(ALPHA, "beta/resize");
	send_many(20000, 5000, kill_one);
}

/* Neither end dies of the other's death; and nothing waits for ever for somebody who does not come back. */
static void test_away_and_back(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	send_number(0);
	until_both(service.next == 1);
	assert_int_equal(WTERMSIG(host_stop(&hosts, BETA, SIGKILL)), SIGKILL);
	until_both(asker.d.n[BROOD_EVENT_AWAY] == 1);
	send_number(1);
	host_start(&hosts, BETA);
	until_both(service.next == 2);
	assert_int_equal(asker.d.n[BROOD_EVENT_AWAY], asker.d.n[BROOD_EVENT_BACK]);
	assert_int_equal(asker.d.n[BROOD_EVENT_DISCONNECT], 0);
}

/* A host that is frozen says nothing, and no connection of its ends. */
static void test_silence(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	send_number(0);
	until_both(service.next == 1);
	kill(hosts.all[BETA].pid, SIGSTOP);
	until_by(host_said(&hosts, ALPHA, "link.silent") == 1 &&
			 asker.d.n[BROOD_EVENT_AWAY] == asker.d.n[BROOD_EVENT_BACK] + 1,
		 assert_true(brood_process(asker.b, 1) >= 0));
	kill(hosts.all[BETA].pid, SIGCONT);
	until_both(asker.d.n[BROOD_EVENT_BACK] == asker.d.n[BROOD_EVENT_AWAY]);
	send_number(1);
	until_both(service.next == 2);
}

/* Who does not read costs those who write to it, and no broker memory beyond its share. */
static void test_stopped_receiver(void **state)
{
	static char body[65536];
	unsigned sent = 0;
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	long before = process_status(hosts.all[BETA].pid, "VmRSS:");
	while (brood_send(asker.other, BROOD_MSG("bulk", body, sizeof body)) == 0) {
		assert_true(brood_process(asker.b, 1) >= 0);
		sent++;
	}
	assert_int_equal(sent, (4u << 20) / sizeof body - 1); /* a window */
	for (int i = 0; i < 20; i++)
		assert_true(brood_process(asker.b, 10) >= 0);
	assert_true(process_status(hosts.all[BETA].pid, "VmRSS:") < before + 8 * 1024 + MEMORY_SLACK_KIB);
	until_both(service.came == sent);
	assert_int_equal(asker.d.n[BROOD_EVENT_DRAIN], 1);
}

/* ---- who is gone ------------------------------------------------------------------------------------------------- */

static void test_service_leaves(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	send_number(0);
	until_both(service.next == 1);
	end_side(&service);
	until_both(asker.d.n[BROOD_EVENT_DISCONNECT] == 1);
	begin_service(BETA, "resize");
	until_both(asker.d.n[BROOD_EVENT_READY] == 2); /* another holder */
	send_number(0);
	until_both(service.next == 1);
}

/* It died while the other broker was not there to be told. */
static void test_service_died_meanwhile(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	send_number(0);
	until_both(service.next == 1);
	assert_int_equal(WTERMSIG(host_stop(&hosts, ALPHA, SIGKILL)), SIGKILL);
	end_side(&service);
	host_start(&hosts, ALPHA);
	until_both(asker.d.n[BROOD_EVENT_DISCONNECT] == 1);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* An answer to the raw question who holds this name. */
static void test_names(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_asker(ALPHA, "beta/@broker"); /* READY: they are linked */
	connect_to(&service, BETA, serve);
	assert_int_equal(brood_register(service.b, "closed"), 0);
	assert_int_equal(brood_sync(service.b, PATIENCE_MS), 0);
	struct diary closed = { 0 }, unknown = { 0 }, own = { 0 };
	brood_peer *p;
	assert_int_equal(brood_find(asker.b, &p, "beta/closed", BROOD_FIND(.on = diary_table, .data = &closed)), 0);
	say(p, "", "not for you");
	until_both(closed.n[BROOD_EVENT_ERROR] == 1);
	assert_int_equal(brood_find(asker.b, &p, "delta/resize", BROOD_FIND(.on = diary_table, .data = &unknown)), 0);
	say(p, "", "nobody");
	until_both(unknown.n[BROOD_EVENT_ERROR] == 1);
	assert_int_equal(brood_find(asker.b, &p, "alpha/own",
				    BROOD_FIND(.on = diary_table, .data = &own, .wait_ms = PATIENCE_MS)),
			 0);
	say(p, "", "to myself");
	assert_int_equal(brood_register(asker.b, "own"), 0);
	until_both(own.n[BROOD_EVENT_READY] == 1);
}

/* By its id, once it has let processes of other nodes write to it. */
static void test_addresses(void **state)
{
	char address[80];
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	snprintf(address, sizeof address, "beta/%s", info_of(brood_self(service.b)).address);
	begin_asker(ALPHA, address);
	send_number(0);
	until_both(service.next == 1);
	assert_string_equal(info_of(asker.other).name, address);
}

/* ---- the other node's broker ------------------------------------------------------------------------------------- */

static void test_broker(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/@broker");
	brood_msg *m = ask_peer(asker.other, "brood.control.GetStatus");
	const Brood__Control__Status *status = brood_msg_pb(m, &brood__control__status__descriptor);
	assert_non_null(status);
	assert_string_equal(status->node, "beta");
	assert_int_equal(status->processes, 1);
	brood_msg_release(m);
	m = ask_peer(asker.other, "brood.control.List");
	const Brood__Control__Listing *listing = brood_msg_pb(m, &brood__control__listing__descriptor);
	assert_non_null(listing);
	assert_int_equal(listing->n_process, 1);
	assert_string_equal(listing->process[0]->name, "resize");
	brood_msg_release(m);
}

static int list_nodes(Brood__Control__Node *to, unsigned most)
{
	brood_msg *m = ask_broker(asker.b, "brood.control.ListNodes");
	unsigned n = 0;
	const Brood__Control__Nodes *nodes = brood_msg_pb(m, &brood__control__nodes__descriptor);
	assert_non_null(nodes);
	for (; n < nodes->n_node && n < most; n++) {
		static char texts[HOSTS_MOST][3][256];
		to[n] = *nodes->node[n];
		to[n].name = strncpy(texts[n][0], nodes->node[n]->name, 255);
		to[n].state = strncpy(texts[n][1], nodes->node[n]->state, 255);
		to[n].error = strncpy(texts[n][2], nodes->node[n]->error, 255);
	}
	n = (unsigned)nodes->n_node;
	brood_msg_release(m);
	return (int)n;
}

static int state_is(unsigned i, const char *state)
{
	Brood__Control__Node nodes[HOSTS_MOST];
	assert_true(list_nodes(nodes, HOSTS_MOST) > (int)i);
	return strcmp(nodes[i].state, state) == 0;
}

static void test_list_of_nodes(void **state)
{
	Brood__Control__Node nodes[HOSTS_MOST];
	(void)state;
	host_start(&hosts, ALPHA);
	connect_to(&asker, ALPHA, NULL);
	until_by(list_nodes(nodes, HOSTS_MOST) == 2 && nodes[1].error[0], turn());
	assert_string_equal(nodes[0].name, "alpha");
	assert_string_equal(nodes[0].state, "here");
	assert_int_equal(nodes[0].processes, 1);
	assert_string_equal(nodes[1].name, "beta");
	assert_string_not_equal(nodes[1].state, "up");
	host_start(&hosts, BETA);
	until_by(state_is(1, "up"), turn());
	assert_int_equal(list_nodes(nodes, HOSTS_MOST), 2);
	assert_string_equal(nodes[1].error, "");
	assert_int_equal(host_stop(&hosts, BETA, SIGTERM), 0);
	until_by(!state_is(1, "up"), turn());
}

/* ---- why there is no answer -------------------------------------------------------------------------------------- */

/* What a request in vain says. Whatever the broker knew is known when it has answered something else. */
static void asked_in_vain(brood_peer *p, const char *error, const char *text)
{
	Brood__Control__Node nodes[HOSTS_MOST];
	brood_msg *m;
	(void)list_nodes(nodes, HOSTS_MOST);
	assert_true(brood_call(p, BROOD_TEXT("anybody?"), 50, &m) < 0);
	const struct brood_error *e = brood_last_error(asker.b);
	if (strcmp(e->name, error) != 0 || !strstr(e->text, text))
		fail_msg("%s: %s", e->name, e->text);
	assert_non_null(strstr(e->hint, "brood nodes"));
}

/* It goes on waiting, and is told why in vain; then it is not in vain. */
static void test_unreachable(void **state)
{
	Brood__Control__Node nodes[HOSTS_MOST];
	brood_peer *p;
	(void)state;
	host_start(&hosts, ALPHA);
	connect_to(&asker, ALPHA, NULL);
	find(&asker, "beta/resize");
	send_number(0);
	until_by(list_nodes(nodes, HOSTS_MOST) == 2 && nodes[1].error[0], turn());
	asked_in_vain(asker.other, "deadline", "in time: beta cannot be reached: ");
	asked_in_vain(asker.other, "deadline", nodes[1].error); /* who asked before the dial failed */
	assert_int_equal(brood_find(asker.b, &p, "beta/other", NULL), 0);
	asked_in_vain(p, "deadline", nodes[1].error); /* who asks later */
	assert_int_equal(brood_sync(asker.b, 10), -ETIMEDOUT);
	assert_non_null(strstr(brood_last_error(asker.b)->text, nodes[1].error));
	assert_int_equal(asker.d.n[BROOD_EVENT_ERROR], 0);
	host_start(&hosts, BETA);
	begin_service(BETA, "resize");
	until_both(service.next == 1);
	assert_int_equal(host_stop(&hosts, BETA, SIGKILL), SIGKILL);
	until_by(list_nodes(nodes, HOSTS_MOST) == 2 && nodes[1].error[0] && strncmp(nodes[1].error, "the ", 4) != 0,
		 turn());                                     /* more is known than that the connection ended */
	asked_in_vain(p, "host.unreachable", nodes[1].error); /* nobody held it, and that is old news */
	brood_msg *m;
	assert_true(brood_call(asker.other, BROOD_TEXT("gone?"), 50, &m) < 0);
	assert_non_null(strstr(brood_last_error(asker.b)->text, "in time: it is away"));
}

/* It does not dial, so all that it knows is that nobody came. */
static void test_not_dialed(void **state)
{
	brood_peer *p;
	(void)state;
	hosts.all[BETA].url[0] = '\0';
	host_start(&hosts, ALPHA);
	connect_to(&asker, ALPHA, NULL);
	assert_int_equal(brood_find(asker.b, &p, "beta/resize", NULL), 0);
	asked_in_vain(p, "deadline", "beta cannot be reached: it has not connected, and no url is set for it here");
	host_start(&hosts, BETA);
	until_by(state_is(1, "up"), turn());
	assert_int_equal(host_stop(&hosts, BETA, SIGTERM), 0);
	until_by(state_is(1, "down"), turn());
	asked_in_vain(p, "host.unreachable", "beta cannot be reached: the connection ended"); /* nobody held it */
}

/* ---- three of them ----------------------------------------------------------------------------------------------- */

static int three(void **state)
{
	(void)state;
	hosts_begin(&hosts, 3, 0);
	unsetenv("BROOD_ADDRESS");
	return 0;
}

/* One service, and programs on both other nodes; each node sees the others under numbers of its own. */
static void test_three(void **state)
{
	struct side third;
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	connect_to(&third, GAMMA, NULL);
	find(&third, "beta/resize");
	send_number(0);
	until_both(service.next == 1);
	assert_int_equal(numbered_send(third.other, 1, 16, 0), 0);
	until_by(service.next == 2, (turn(), assert_true(brood_process(third.b, 1) >= 0)));
	brood_close(third.b);
}

/* Gamma was not told of alpha, and alpha not of gamma: what one says of itself is not enough. */
static void test_not_configured(void **state)
{
	(void)state;
	hosts.all[ALPHA].knows = 1u << BETA;
	hosts_start(&hosts);
	until_by(host_said(&hosts, GAMMA, "link.unknown") > 0, nap());
	assert_int_equal(host_said(&hosts, GAMMA, "link.up node=alpha"), 0);
	begin_asker(GAMMA, "beta/@broker");
	hosts.all[ALPHA].knows |= 1u << GAMMA;
	host_configure(&hosts, ALPHA);
	kill(hosts.all[ALPHA].pid, SIGHUP);
	until_both(host_said(&hosts, GAMMA, "link.up node=alpha") == 1);
}

/* A node that is taken out of the configuration is gone with all its processes. */
static void test_peer_is_removed(void **state)
{
	(void)state;
	hosts_start(&hosts);
	begin_service(BETA, "resize");
	begin_asker(ALPHA, "beta/resize");
	send_number(0);
	until_both(service.next == 1);
	hosts.all[ALPHA].knows = 0;
	host_configure(&hosts, ALPHA);
	kill(hosts.all[ALPHA].pid, SIGHUP);
	until_both(asker.d.n[BROOD_EVENT_DISCONNECT] == 1);
	hosts.all[ALPHA].knows = 1u << BETA;
	host_configure(&hosts, ALPHA);
	kill(hosts.all[ALPHA].pid, SIGHUP);
	until_both(asker.d.n[BROOD_EVENT_READY] == 2); /* the watch is still there */
}

/* A name that is not open, which beta's configuration shares with alpha's users; then it does not, and then it does again. */
static void test_policy(void **state)
{
	char usual[sizeof hosts.all[BETA].more];
	(void)state;
	snprintf(usual, sizeof usual, "%s", hosts.all[BETA].more);
	snprintf(hosts.all[BETA].more + strlen(usual), sizeof usual - strlen(usual),
		 "[name \"resize\"]\nowner = %u\nusers = *@alpha\n", (unsigned)geteuid());
	host_configure(&hosts, BETA);
	hosts_start(&hosts);
	connect_to(&service, BETA, serve);
	service.echo = 1;
	assert_int_equal(brood_register(service.b, "resize"), 0);
	assert_int_equal(brood_sync(service.b, PATIENCE_MS), 0);
	begin_asker(ALPHA, "beta/resize");
	for (uint64_t i = 0; i < 10; i++)
		send_number(i);
	until_both(diary_messages(&asker.d) == 10); /* and is answered */
	for (unsigned n = 1; n < 3; n++) {
		char shared[sizeof usual];
		snprintf(shared, sizeof shared, "%s", hosts.all[BETA].more);
		snprintf(hosts.all[BETA].more, sizeof usual, "%s", usual);
		host_configure(&hosts, BETA);
		kill(hosts.all[BETA].pid, SIGHUP);
		until_both(asker.d.n[BROOD_EVENT_DISCONNECT] == n);
		assert_int_equal(asker.d.n[BROOD_EVENT_READY], n);
		snprintf(hosts.all[BETA].more, sizeof usual, "%s", shared);
		host_configure(&hosts, BETA);
		kill(hosts.all[BETA].pid, SIGHUP);
		until_both(asker.d.n[BROOD_EVENT_READY] == n + 1);
	}
	say(asker.other, "", "here again");
	until_both(service.came == 11);
	assert_int_equal(service.wrong, 0);
}

#ifdef BROOD_TLS
/* Each waits until it has seen the other's certificate, and says what is wrong with it. */
static void test_wrong_certificate(void **state)
{
	(void)state;
	host_show(&hosts.all[BETA], "alpha");
	hosts_start(&hosts);
	until_by(host_said(&hosts, ALPHA, "tls.name") > 0, nap());    /* beta, dialed, shows alpha's */
	until_by(host_said(&hosts, ALPHA, "link.denied") > 0, nap()); /* beta, who dials, shows alpha's */
	assert_int_equal(host_said(&hosts, ALPHA, " link.up "), 0);
	connect_to(&asker, ALPHA, NULL);
	find(&asker, "beta/@broker");
	asked_in_vain(asker.other, "deadline", "beta cannot be reached: tls://");
	host_show(&hosts.all[BETA], "beta");
	host_configure(&hosts, BETA);
	kill(hosts.all[BETA].pid, SIGHUP);
	until_by(asker.d.n[BROOD_EVENT_READY] == 1, turn());
}

/* The one that only listens hears of it, too: somebody was there, and was turned away. And the one that dials, what it was told. */
static void test_wrong_certificate_here(void **state)
{
	brood_peer *p;
	(void)state;
	hosts.all[BETA].url[0] = '\0';
	host_show(&hosts.all[BETA], "alpha");
	hosts_start(&hosts);
	until_by(host_said(&hosts, ALPHA, "link.denied") > 0, nap());
	connect_to(&asker, ALPHA, NULL);
	assert_int_equal(brood_find(asker.b, &p, "beta/resize", NULL), 0);
	asked_in_vain(p, "deadline", "beta cannot be reached: who connected as this node was refused: no certificate");
	until_by(host_said(&hosts, BETA, "link.failed") > 0, nap());
	end_side(&asker);
	connect_to(&asker, BETA, NULL);
	assert_int_equal(brood_find(asker.b, &p, "alpha/resize", NULL), 0);
	asked_in_vain(p, "deadline", "the other end says link.denied: nothing proves that this is node beta");
}

/* A client's certificate, and none, are no node's. */
static void test_not_a_node(void **state)
{
	struct host *beta = &hosts.all[BETA];
	(void)state;
	snprintf(beta->papers, sizeof beta->papers, "tls-cert = %s\ntls-key = %s\ntls-ca = %s\n",
		 papers_path("server-localhost.crt"), papers_path("server-localhost.key"), papers_path("ca.crt"));
	hosts_start(&hosts);
	until_by(host_said(&hosts, ALPHA, "link.failed") > 2, nap());
	assert_int_equal(host_said(&hosts, ALPHA, " link.up "), 0);
}

/* A revoked one ends the link with the next reload. */
static void test_revoked(void **state)
{
	struct tls_fault why;
	(void)state;
	hosts.all[ALPHA].url[0] = '\0'; /* alpha dials, and beta sees its certificate */
	hosts_start(&hosts);
	until_by(host_said(&hosts, BETA, " link.up ") > 0, nap());
	char list[160], command[400];
	snprintf(list, sizeof list, "%s", papers_path("ca.crl"));
	snprintf(command, sizeof command, "cp -p %s %s.before", list, list);
	assert_int_equal(system(command), 0);
	assert_int_equal(papers_api()->revoke(papers_directory(), papers_path("node-alpha.crt"), &why), 0);
	kill(hosts.all[BETA].pid, SIGHUP);
	until_by(host_said(&hosts, BETA, "tls.revoked") > 0, nap());
	until_by(host_said(&hosts, BETA, " link.down ") > 0, nap());
	snprintf(command, sizeof command, "mv -f %s.before %s", list, list);
	assert_int_equal(system(command), 0);
	kill(hosts.all[BETA].pid, SIGHUP);
	until_by(host_said(&hosts, BETA, " link.up ") > 1, nap());
}
#endif

#define LINKED_BY(test, name) cmocka_unit_test_setup_teardown(test, on_##name##_links, end)
#ifdef BROOD_TLS
#define LINKED(test)                                                                                                   \
	{ #test " (unix)", test, on_unix_links, end, NULL },                                                           \
	{                                                                                                              \
#test " (tls)", test, on_tls_links, end, NULL                                                          \
	}
#else
#define LINKED(test)                                                                                                   \
	{                                                                                                              \
#test " (unix)", test, on_unix_links, end, NULL                                                        \
	}
#endif
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		LINKED(test_messages),
		LINKED(test_requests),
		LINKED(test_deadlines_stay_at_home),
		LINKED(test_order_while_it_is_cut),
		LINKED(test_brokers_are_killed),
		LINKED(test_away_and_back),
		LINKED(test_silence),
		LINKED(test_stopped_receiver),
		LINKED(test_service_leaves),
		LINKED(test_service_died_meanwhile),
		LINKED(test_names),
		LINKED(test_addresses),
		LINKED(test_broker),
		LINKED(test_list_of_nodes),
		LINKED(test_unreachable),
		LINKED(test_not_dialed),
		cmocka_unit_test_setup_teardown(test_three, three, end),
		cmocka_unit_test_setup_teardown(test_not_configured, three, end),
		LINKED(test_peer_is_removed),
		LINKED(test_policy),
#ifdef BROOD_TLS
		LINKED_BY(test_wrong_certificate, tls),
		LINKED_BY(test_wrong_certificate_here, tls),
		LINKED_BY(test_not_a_node, tls),
		LINKED_BY(test_revoked, tls),
#endif
	};
	return RUN("links", tests);
}
