/*
 * users: who connects is whoever the kernel says, so the test takes on a user for the moment in which it does.
 */
#include "users.h"
#include "control.pb-c.h"
#include "guard.h"
#include "message.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct setup {
	struct wire_broker broker;
	char directory[32], path[48];
	struct wire_broker door; /* the same, where everybody may come */
};

static struct setup setup;

int users_begin(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return 0;
	wire_broker_init(&setup.broker);
	strcpy(setup.directory, "/tmp/users-XXXXXX");
	if (!mkdtemp(setup.directory))
		return -1;
	snprintf(setup.path, sizeof(setup.path), "%s/sock", setup.directory);
	snprintf(setup.door.socket, sizeof(setup.door.socket), "unix:%s", setup.path);
	return chmod(setup.directory, 0711);
}

int users_end(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return 0;
	wire_broker_deinit(&setup.broker);
	return rmdir(setup.directory);
}

struct wire_broker *users_start(const char *const *flags)
{
	const char *all[16] = { "--listen", setup.door.socket };
	int n = 2;

	while (*flags)
		all[n++] = *flags++;
	wire_broker_start(&setup.broker, all);
	assert_int_equal(chmod(setup.path, 0666), 0);
	return &setup.broker;
}

void users_connect_as(struct wire *w, uid_t uid)
{
	assert_int_equal(seteuid(uid), 0);
	wire_connect(w, setup.door.socket);
	assert_int_equal(seteuid(0), 0);
}

void users_open_as(struct wire *w, uid_t uid, uint32_t ids)
{
	assert_int_equal(seteuid(uid), 0);
	wire_open(w, &setup.door, ids);
	assert_int_equal(seteuid(0), 0);
}

void users_take_name(struct wire *w, const char *name, const char *error)
{
	Brood__Register body = BROOD__REGISTER__INIT;
	Brood__Registered *answer;

	body.name = (char *)(uintptr_t)name;
	wire_say(w, FRAME_REGISTER, &body.base, -1);
	answer = wire_expect_body(w, FRAME_REGISTERED, &brood__registered__descriptor);
	assert_string_equal(answer->name, name);
	assert_string_equal(answer->error, error);
	guard_free(&answer->base);
}

uint64_t users_told_name(struct wire *w, const char *name)
{
	Brood__Name *answer = wire_expect_body(w, FRAME_NAME, &brood__name__descriptor);
	uint64_t id = answer->id;

	assert_string_equal(answer->name, name);
	guard_free(&answer->base);
	return id;
}

uint64_t users_find_name(struct wire *w, const char *name)
{
	Brood__Watch body = BROOD__WATCH__INIT;

	body.name = (char *)(uintptr_t)name;
	wire_say(w, FRAME_WATCH, &body.base, -1);
	return users_told_name(w, name);
}

size_t users_list(struct wire *w, uint64_t sequence, uint64_t *first)
{
	Brood__Control__List body = BROOD__CONTROL__LIST__INIT;
	struct item it = {
		.kind = ITEM_REQUEST, .correlation = 1, .name = "brood.control.List", .type = ITEM_UNNUMBERED
	};
	struct frame head = { .kind = FRAME_DATA, .destination = FRAME_BROKER, .sequence = sequence }, f;
	_Alignas(8) uint8_t bytes[256];
	const uint8_t *at;
	ProtobufCMessage *answer;
	size_t n;

	it.name_length = (uint8_t)strlen(it.name);
	it.length = (uint32_t)protobuf_c_message_get_packed_size(&body.base);
	it.total = it.length;
	head.length = (uint32_t)item_size(it.kind, item_extension_size(&it), it.length);
	protobuf_c_message_pack(&body.base, item_write(bytes, &it));
	wire_send(w, &head, bytes, -1);
	f = wire_expect(w, FRAME_DATA);
	at = f.body;
	assert_int_equal(item_next(&at, f.body + f.length, &it), 1);
	assert_int_equal(guard_unpack(&brood__control__listing__descriptor, it.body, it.length, 1, &answer), 0);
	n = ((Brood__Control__Listing *)answer)->n_process;
	*first = n ? ((Brood__Control__Listing *)answer)->process[0]->id : 0;
	guard_free(answer);
	return n;
}

/*
 * Configuration.
 */

#define PATIENCE_MS 20000

static void configure(const char *text)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/broodd.conf", setup.broker.dir);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

struct wire_broker *users_start_with(const char *text)
{
	char path[96];

	configure(text);
	snprintf(path, sizeof(path), "%s/broodd.conf", setup.broker.dir);
	return users_start((const char *[]){ "--config", path, NULL });
}

int users_logged(const char *event, const char *words)
{
	char line[8192], path[96];
	FILE *log;
	int n = 0;

	snprintf(path, sizeof(path), "%s/stderr", setup.broker.dir);
	log = fopen(path, "r");
	assert_non_null(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, event) && strstr(line, words);
	fclose(log);
	return n;
}

void users_reload(const char *text, int right)
{
	const char *event = right ? " reload.done " : " reload.failed ",
		   *other = right ? " reload.failed " : " reload.done ";
	int before = users_logged(event, ""), others = users_logged(other, "");

	configure(text);
	assert_int_equal(kill(setup.broker.pid, SIGHUP), 0);
	for (int i = 0; i < PATIENCE_MS / 5 && users_logged(event, "") == before; i++)
		usleep(5000);
	assert_true(users_logged(event, "") > before);
	assert_int_equal(users_logged(other, ""), others);
}
