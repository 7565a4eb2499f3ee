/*
 * The frames in proto/golden: each is built here and compared with its file, byte for byte, comment for comment. With
 * the argument --write the files are written anew; a change in one of them is a change of the wire, which breaks every
 * client there is.
 *
 * The "kind" and "item" lines of a file are not what was put in, but what our own readers got out of the bytes.
 */
#include "test.h"

#include "address.h"
#include "brood.pb-c.h"
#include "control.pb-c.h"
#include "frame.h"
#include "message.h"
#include "ticket.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define A 0x65f2a1b000000003 /* 65f2a1b0.3, a client */
#define B 0x65f2a1b000000004 /* 65f2a1b0.4, another */
#define FIRST 0x65f2a1b000000010

static _Alignas(8) uint8_t bytes[4096];
static struct frame frame;
static size_t used; /* bytes of the body */

static void begin(enum frame_kind kind)
{
	memset(bytes, 0, sizeof(bytes));
	frame = (struct frame){ .kind = (uint8_t)kind };
	used = 0;
}

static void routed(enum frame_kind kind, uint64_t source, uint64_t destination, uint64_t sequence, uint64_t acknowledge)
{
	begin(kind);
	frame.source = source;
	frame.destination = destination;
	frame.sequence = sequence;
	frame.acknowledge = acknowledge;
}

static void body(const ProtobufCMessage *message)
{
	used = protobuf_c_message_pack(message, bytes + FRAME_HEAD);
}

static void item(struct item it, const char *name, const void *from)
{
	if (name) {
		it.name = name;
		it.name_length = (uint8_t)strlen(name);
	}
	memcpy(item_write(bytes + FRAME_HEAD + used, &it), from, it.length);
	used += item_size(it.kind, item_extension_size(&it), it.length);
}

static char *text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static ProtobufCBinaryData binary(const void *from, size_t n)
{
	return (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)from };
}

/* The broker's key in all of these: the bytes 0, 1, 2 ... 31. */
static const uint8_t *broker_key(void)
{
	static uint8_t key[TICKET_KEY];
	uint8_t i;

	for (i = 0; i < TICKET_KEY; i++)
		key[i] = i;
	return key;
}

static const uint8_t *ticket(uint64_t id, uint64_t parent, uint64_t first)
{
	static uint8_t ret[TICKET_SIZE];
	struct ticket t = { .id = id, .parent = parent, .first = first, .uid = 1000 };
	uint8_t block_key[TICKET_KEY];

	ticket_block_key(broker_key(), first, block_key);
	ticket_mint(block_key, &t, ret);
	return ret;
}

static void hello(void)
{
	Brood__Hello m = BROOD__HELLO__INIT;

	m.pid = 4242;
	m.title = text("echo.py");
	begin(FRAME_HELLO);
	body(&m.base);
}

static void hello_ticket(void)
{
	Brood__Hello m = BROOD__HELLO__INIT;

	m.level = 1;
	m.ticket = binary(ticket(FIRST + 1, A, FIRST), TICKET_SIZE);
	m.ids = 16;
	begin(FRAME_HELLO);
	body(&m.base);
}

static void hello_ok(void)
{
	static uint8_t block_key[TICKET_KEY];
	Brood__HelloOk m = BROOD__HELLO_OK__INIT;

	ticket_block_key(broker_key(), FIRST, block_key);
	m.id = A;
	m.node = text("alpha");
	m.ticket = binary(ticket(A, 0, 0), TICKET_SIZE);
	m.first_id = FIRST;
	m.ids = 16;
	m.ids_key = binary(block_key, TICKET_KEY);
	m.pid = 77;
	m.address = text("unix:/run/brood/socket");
	begin(FRAME_HELLO_OK);
	body(&m.base);
}

static void adopt(void)
{
	Brood__Adopt m = BROOD__ADOPT__INIT;

	m.id = FIRST + 1;
	m.uid = 1000;
	m.pid = 4300;
	m.title = text("worker");
	m.name = text("resize");
	begin(FRAME_ADOPT);
	body(&m.base);
}

static void birth(void)
{
	Brood__Birth m = BROOD__BIRTH__INIT;

	m.id = FIRST + 1;
	m.parent = A;
	m.node = text("alpha");
	m.address = text("unix:/run/brood/socket");
	m.ticket = binary(ticket(FIRST + 1, A, FIRST), TICKET_SIZE);
	begin(FRAME_BIRTH);
	body(&m.base);
}

static void registers(void)
{
	Brood__Register m = BROOD__REGISTER__INIT;

	m.name = text("resize");
	begin(FRAME_REGISTER);
	body(&m.base);
}

static void unregister(void)
{
	Brood__Register m = BROOD__REGISTER__INIT;

	begin(FRAME_UNREGISTER);
	body(&m.base);
}

static void registered(void)
{
	Brood__Registered m = BROOD__REGISTERED__INIT;

	m.name = text("resize");
	begin(FRAME_REGISTERED);
	body(&m.base);
}

static void registered_taken(void)
{
	Brood__Registered m = BROOD__REGISTERED__INIT;

	m.name = text("resize");
	m.code = -EADDRINUSE;
	m.error = text("name.taken");
	m.text = text("\"resize\" belongs to 65f2a1b0.4 (worker, pid 4300)");
	m.hint = text("see who has it with: brood ps");
	begin(FRAME_REGISTERED);
	body(&m.base);
}

static void watch(void)
{
	Brood__Watch m = BROOD__WATCH__INIT;

	m.name = text("resize");
	begin(FRAME_WATCH);
	body(&m.base);
}

static void name(void)
{
	Brood__Name m = BROOD__NAME__INIT;

	m.name = text("resize");
	m.id = B;
	begin(FRAME_NAME);
	body(&m.base);
}

static void message_untyped(void)
{
	routed(FRAME_DATA, 0, B, 1, 0);
	item((struct item){ .kind = ITEM_MESSAGE, .length = 5 }, NULL, "hello");
}

static void message_binds_type(void)
{
	routed(FRAME_DATA, A, B, 2, 0);
	frame.flags = FRAME_ACK_NOW;
	item((struct item){ .kind = ITEM_MESSAGE, .type = 1, .length = 8 }, "text", "12345678");
}

static void bundle(void)
{
	routed(FRAME_DATA, A, B, 3, 7);
	item((struct item){ .kind = ITEM_MESSAGE, .type = 1, .length = 1 }, NULL, "a");
	item((struct item){ .kind = ITEM_MESSAGE, .type = 1 }, NULL, "");
	item((struct item){ .kind = ITEM_MESSAGE, .type = ITEM_UNNUMBERED, .length = 3 }, "shop.Order", "abc");
}

static void request(void)
{
	struct item it = { .kind = ITEM_REQUEST, .type = 2, .length = 2, .correlation = 1, .deadline = 123456789 };

	it.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	it.trace_length = 55;
	routed(FRAME_DATA, 0, B, 6, 0);
	item(it, "shop.Order", "\x08\x2a");
}

static void reply(void)
{
	routed(FRAME_DATA, B, A, 1, 6);
	item((struct item){ .kind = ITEM_REPLY, .type = 1, .length = 2, .correlation = 1 }, "shop.Receipt", "\x08\x01");
}

static void failure(void)
{
	Brood__Failure m = BROOD__FAILURE__INIT;
	uint8_t packed[128];
	struct item it = { .kind = ITEM_FAILURE, .correlation = 2 };

	m.code = -ENOMSG;
	m.error = text("unanswered");
	m.text = text("the request was not answered");
	it.length = (uint32_t)brood__failure__pack(&m, packed);
	routed(FRAME_DATA, B, A, 2, 7);
	item(it, NULL, packed);
}

static void cancel(void)
{
	routed(FRAME_DATA, 0, B, 8, 0);
	item((struct item){ .kind = ITEM_CANCEL, .correlation = 3 }, NULL, "");
}

static void ready(void)
{
	routed(FRAME_DATA, 0, A, 1, 0);
	item((struct item){ .kind = ITEM_READY }, NULL, "");
}

static void fin(void)
{
	routed(FRAME_DATA, 0, B, 9, 2);
	item((struct item){ .kind = ITEM_FIN }, NULL, "");
}

static void fragment_first(void)
{
	routed(FRAME_DATA, 0, B, 10, 0);
	item((struct item){ .kind = ITEM_MESSAGE, .type = 1, .length = 8, .more = 1, .total = 20 }, NULL, "abcdefgh");
}

static void fragments_rest(void)
{
	routed(FRAME_DATA, 0, B, 11, 0);
	item((struct item){ .kind = ITEM_MESSAGE, .length = 8, .more = 1, .continued = 1 }, NULL, "ijklmnop");
	item((struct item){ .kind = ITEM_MESSAGE, .length = 4, .continued = 1 }, NULL, "qrst");
}

static void with_fds(void)
{
	routed(FRAME_DATA, 0, B, 10, 0);
	frame.flags = FRAME_ACK_NOW | FRAME_FDS;
	item((struct item){ .kind = ITEM_MESSAGE, .type = 1, .length = 4, .fds = 2 }, NULL, "pipe");
}

static void refused(void)
{
	Brood__Failure m = BROOD__FAILURE__INIT;
	uint8_t packed[128];
	struct item it = { .kind = ITEM_REFUSED, .correlation = 10 };

	m.code = -EXDEV;
	m.error = text("fd.transport");
	m.text = text("this client takes no descriptors");
	it.length = (uint32_t)brood__failure__pack(&m, packed);
	routed(FRAME_DATA, B, A, 3, 10);
	item(it, NULL, packed);
}

static void acknowledge(void)
{
	routed(FRAME_ACK, 0, A, 0, 12);
}

static void reset(void)
{
	routed(FRAME_RESET, B, A, 1, 0);
}

static void probe(void)
{
	routed(FRAME_PROBE, 0, B, 13, 2);
}

static void hold(void)
{
	begin(FRAME_HOLD);
	frame.source = B;
	frame.flags = FRAME_AWAY;
}

static void go(void)
{
	begin(FRAME_GO);
	frame.source = B;
}

static void gone(void)
{
	Brood__Gone m = BROOD__GONE__INIT;

	m.id = B;
	m.why = BROOD__WHY__WHY_EXITED;
	begin(FRAME_GONE);
	body(&m.base);
}

static void joined(void)
{
	Brood__Joined m = BROOD__JOINED__INIT;

	m.id = B;
	m.pid = 4400;
	m.title = text("helper");
	begin(FRAME_JOINED);
	body(&m.base);
}

static void died(void)
{
	Brood__Died m = BROOD__DIED__INIT;

	m.id = FIRST + 1;
	begin(FRAME_DIED);
	body(&m.base);
}

static void end(void)
{
	Brood__End m = BROOD__END__INIT;

	m.id = FIRST + 1;
	m.last = 42;
	begin(FRAME_END);
	body(&m.base);
}

static void goodbye(void)
{
	begin(FRAME_GOODBYE);
}

static void goodbye_refused(void)
{
	Brood__Goodbye m = BROOD__GOODBYE__INIT;

	m.parting = BROOD__PARTING__PARTING_REFUSED;
	m.code = -EPROTO;
	m.error = text("hello.expected");
	m.text = text("the first frame was REGISTER");
	m.hint = text("send HELLO as the first frame");
	begin(FRAME_GOODBYE);
	body(&m.base);
}

static void list(void)
{
	Brood__Control__List m = BROOD__CONTROL__LIST__INIT;
	uint8_t packed[32];
	struct item it = { .kind = ITEM_REQUEST, .type = 1, .correlation = 1 };

	m.most = 10;
	it.length = (uint32_t)brood__control__list__pack(&m, packed);
	routed(FRAME_DATA, 0, 0, 1, 0);
	frame.flags = FRAME_ACK_NOW;
	item(it, "brood.control.List", packed);
}

static void listing(void)
{
	Brood__Control__Listing m = BROOD__CONTROL__LISTING__INIT;
	Brood__Control__Process p = BROOD__CONTROL__PROCESS__INIT, *all[1] = { &p };
	uint8_t packed[256];
	struct item it = { .kind = ITEM_REPLY, .type = 1, .correlation = 1 };

	p.id = A;
	p.address = text("65f2a1b0.3");
	p.name = text("resize");
	p.pid = 4242;
	p.uid = 1000;
	p.title = text("echo.py");
	p.transport = text("unix");
	p.state = text("live");
	p.since_ms = 1500;
	m.n_process = 1;
	m.process = all;
	it.length = (uint32_t)brood__control__listing__pack(&m, packed);
	routed(FRAME_DATA, 0, A, 1, 1);
	item(it, "brood.control.Listing", packed);
}

static const struct golden {
	const char *file;
	void (*build)(void);
	const char *meaning;
} goldens[] = {
	{ "hello", hello, "A level 0 client introduces itself on a Unix socket. The first frame there is." },
	{ "hello-ticket", hello_ticket,
	  "A child that was not adopted proves its id and asks for 16 ids for children." },
	{ "hello-ok", hello_ok,
	  "The broker's answer: an id, a ticket for it, and 16 ids for children with their key." },
	{ "adopt", adopt,
	  "A parent hands the broker's end of its child's channel over. One descriptor comes with it." },
	{ "birth", birth, "What a child finds first in its inherited channel." },
	{ "register", registers, "Give me the name \"resize\"." },
	{ "unregister", unregister, "I give up all my names. The empty message has an empty body." },
	{ "registered", registered, "The name is yours." },
	{ "registered-taken", registered_taken, "The name is somebody else's." },
	{ "watch", watch, "Tell me who holds the name \"resize\", now and whenever that changes." },
	{ "name", name, "65f2a1b0.4 holds it." },
	{ "message-untyped", message_untyped,
	  "As a client sends it: source 0. One message without a type, \"hello\"." },
	{ "message-binds-type", message_binds_type,
	  "As the receiver gets it: the source is filled in. Number 1 means \"text\" from now on. Acknowledge at "
	  "once." },
	{ "message-bundle", bundle,
	  "Three messages under one head, with the sequence numbers 3, 4 and 5. The first two are of type \"text\", "
	  "the "
	  "second is empty, the third has a type without a number. Rides along: I consumed all your items up to 7." },
	{ "request", request, "A request with a deadline and a trace, which binds number 2." },
	{ "reply", reply, "Its reply. Items up to 6 of the other direction were consumed." },
	{ "failure", failure, "The reply to request 2 is an error: the body is a brood.Failure." },
	{ "cancel", cancel, "Nobody waits for the reply to request 3 any more." },
	{ "ready", ready, "A child tells its parent that it is ready." },
	{ "fin", fin, "My last item to you." },
	{ "fragment-first", fragment_first,
	  "The first of three fragments of a message of 20 bytes. (Real fragments are longer, up to 131,008 bytes.)" },
	{ "fragments-rest", fragments_rest, "The other two, here in one frame; their type numbers say nothing." },
	{ "message-fds", with_fds,
	  "A message with two descriptors, which come beside the first byte. Alone in its frame." },
	{ "refused", refused, "Item 10 of yours, a message, was not taken: the body, a brood.Failure, says why." },
	{ "ack", acknowledge, "All your items up to 12 were consumed." },
	{ "reset", reset, "I know nothing of what you continue; the next item I can take from you is 1." },
	{ "probe", probe,
	  "My next item will be 13: acknowledge now what you consumed before it. It also acknowledges up to 2." },
	{ "hold", hold, "Do not send to 65f2a1b0.4: it is unreachable for now." },
	{ "go", go, "Send to 65f2a1b0.4 again, from the first unacknowledged item on." },
	{ "gone", gone, "Nothing will reach or come from 65f2a1b0.4 any more: it exited." },
	{ "joined", joined, "A process that you did not spawn became your child." },
	{ "died", died, "A parent has reaped its child." },
	{ "end", end, "The answer, behind the child's last frame. Its last item to the parent was 42." },
	{ "goodbye", goodbye, "I am leaving. The empty message has an empty body." },
	{ "goodbye-refused", goodbye_refused, "The broker closes the connection, and says why." },
	{ "control-list", list, "A request to the broker itself: list at most 10 processes." },
	{ "control-listing", listing, "Its reply, from source 0: one process." },
};

/* ---- as text ----------------------------------------------------------------------------------------------------- */

static char out[32 * 1024];
static size_t out_used;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	out_used += (size_t)vsnprintf(out + out_used, sizeof(out) - out_used, format, args);
	va_end(args);
	assert_true(out_used < sizeof(out));
}

static void say_item(const struct item *it)
{
	static const char *const names[] = { "?",      "MESSAGE", "REQUEST", "REPLY",  "FAILURE",
					     "CANCEL", "READY",   "FIN",     "REFUSED" };

	say("# item kind=%s type=%u length=%" PRIu32, names[it->kind], it->type, it->length);
	if (item_is_call(it->kind))
		say(" correlation=%" PRIu64 " deadline=%" PRIu64, it->correlation, it->deadline);
	if (it->name)
		say(" name=%.*s", it->name_length, it->name);
	if (it->trace)
		say(" trace=%.*s", it->trace_length, it->trace);
	if (it->more && !it->continued)
		say(" total=%" PRIu64, it->total);
	if (it->fds)
		say(" fds=%u", it->fds);
	say("%s%s\n", it->more ? " more" : "", it->continued ? " continued" : "");
}

static void say_items(const struct frame *f)
{
	const uint8_t *at = f->body, *last = f->body + f->length;
	struct item it;
	int r;

	while ((r = item_next(&at, last, &it)) == 1)
		say_item(&it);
	assert_int_equal(r, 0);
}

static void say_bytes(const struct frame *f)
{
	size_t i;

	for (i = 0; i < f->size; i++)
		say("%02x%s", f->bytes[i], i % 16 == 15 || i + 1 == f->size ? "\n" : i % 8 == 7 ? "  " : " ");
}

/* What the file of this frame should say. */
static const char *render(const struct golden *g)
{
	char source[ID_TEXT], destination[ID_TEXT];
	struct frame f;

	g->build();
	frame.length = (uint32_t)used;
	frame_write_head(bytes, &frame);
	assert_int_equal(frame_parse(bytes, frame_size(used), FRAME_MAX, &f), 1);
	out_used = 0;
	say("# %s\n", g->meaning);
	say("# frame kind=%s flags=%u source=%s destination=%s stream=%" PRIu32 " sequence=%" PRIu64
	    " acknowledge=%" PRIu64 " length=%" PRIu32 "\n",
	    frame_kind_name(f.kind), f.flags, id_format(f.source, source), id_format(f.destination, destination),
	    f.stream, f.sequence, f.acknowledge, f.length);
	if (f.kind == FRAME_DATA)
		say_items(&f);
	say_bytes(&f);
	return out;
}

static const char *path_of(const struct golden *g)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s.hex", GOLDEN, g->file);
	return path;
}

static const char *read_file(const char *path)
{
	static char text_of[sizeof(out)];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	n = fread(text_of, 1, sizeof(text_of) - 1, f);
	text_of[n] = '\0';
	fclose(f);
	return text_of;
}

static void every_frame_is_as_its_file_says(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(goldens) / sizeof(*goldens); i++)
		assert_string_equal(read_file(path_of(&goldens[i])), render(&goldens[i]));
}

static void no_file_is_without_its_frame(void **state)
{
	DIR *d = opendir(GOLDEN);
	struct dirent *entry;
	size_t files = 0;

	(void)state;
	assert_non_null(d);
	while ((entry = readdir(d)))
		files += entry->d_name[0] != '.';
	closedir(d);
	assert_int_equal(files, sizeof(goldens) / sizeof(*goldens));
}

static int write_all(void)
{
	size_t i;

	for (i = 0; i < sizeof(goldens) / sizeof(*goldens); i++) {
		FILE *f = fopen(path_of(&goldens[i]), "w");

		if (!f || fputs(render(&goldens[i]), f) < 0 || fclose(f) != 0) {
			perror(path_of(&goldens[i]));
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_frame_is_as_its_file_says),
		cmocka_unit_test(no_file_is_without_its_frame),
	};

	if (argc == 2 && strcmp(argv[1], "--write") == 0)
		return write_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
