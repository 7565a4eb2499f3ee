/*
 * use_c: the macros of the public headers, as a C program writes them. Compiled only, with all warnings, as C99 and
 * C11.
 */
#include <brood.h>
#include <brood/event.h>
#include <brood/pb.h>

static int got(const brood_event *event)
{
	if (event->msg && event->msg->wants_reply)
		return brood_reply(event->msg, BROOD_TEXT("pong"));
	return event->error ? event->error->code : 0;
}

int use(struct event_base *base, const ProtobufCMessage *message);

int use(struct event_base *base, const ProtobufCMessage *message)
{
	brood *b;
	brood_peer *kid, *other;
	struct brood_peer_info info;
	struct brood_handlers table;
	BROOD_INIT(info);
	BROOD_INIT(table);
	table.any = got;
	if (brood_connect(&b, NULL,
			  BROOD_OPTIONS(.name = "me", .flags = BROOD_NOT_READY, .on = BROOD_ON(.join = got))) < 0 ||
	    brood_spawn(b, &kid, BROOD_ARGV("worker", "-v"),
			BROOD_SPAWN(.on = BROOD_ON(.message = got, .exit = got), .cwd = "/",
				    .stdio = BROOD_STDIO(BROOD_NUL(1), BROOD_MINE(2)))) < 0 ||
	    brood_spawn(b, NULL, BROOD_ARGV("worker"), NULL) < 0 ||
	    brood_find(b, &other, "resize", BROOD_FIND(.wait_ms = 100, .on = &table)) < 0 ||
	    brood_send(kid, BROOD_MSG("Job", "body", 4, .flags = BROOD_MORE | BROOD_BLOCK)) < 0 ||
	    brood_send(kid, BROOD_MSG("Job", "body", 4)) < 0 || brood_send_pb(kid, message) < 0 ||
	    brood_request(kid, BROOD_TEXT("ping"), 1000, got, NULL) < 0)
		return 1;
	struct event *e = brood_event_attach(b, base);
	(void)brood_info(kid, &info);
	(void)brood_run(b);
	event_free(e);
	brood_close(b);
	return info.exit ? info.exit->code : 0;
}
