// use_cxx: the public headers as a C++ program uses them. Compiled only, with all warnings, as C++11 and C++20.
#include <brood.h>
#include <brood/event.h>
#include <brood/pb.h>

static int got(const brood_event *event)
{
	return event->msg ? brood_reply(event->msg, BROOD_TEXT("pong")) : 0;
}

int use(event_base *base, const ProtobufCMessage *message);

int use(event_base *base, const ProtobufCMessage *message)
{
	brood *b;
	brood_peer *kid;
	brood_options options;
	brood_handlers table;
	brood_spawn_options how;
	const char *const argv[] = { "worker", "-v", nullptr };
	const brood_stdio stdio[] = { BROOD_NUL(1), BROOD_MINE(2), { -1, BROOD_STDIO_END, -1, nullptr } };
	BROOD_INIT(options);
	BROOD_INIT(table);
	BROOD_INIT(how);
	table.message = got;
	options.on = &table;
	how.stdio = stdio;
	if (brood_connect(&b, nullptr, &options) < 0 || brood_spawn(b, &kid, argv, &how) < 0 ||
	    brood_send(kid, BROOD_MSG("Job", "body", 4)) < 0 || brood_send_pb(kid, message) < 0 ||
	    brood_request(kid, BROOD_TEXT("ping"), 1000, got, nullptr) < 0)
		return 1;
	event *e = brood_event_attach(b, base);
	brood_run(b);
	event_free(e);
	brood_close(b);
	return 0;
}
