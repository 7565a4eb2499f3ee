/*
 * child_hostile: see child_hostile.h. First BIRTH is read, which says who we are and who our parent is; then one thing
 * is done that no library does. Kinds marked harmless are followed by an honest message "alive", numbered as if nothing
 * had been.
 */
#include "child_hostile.h"
#include "brood.pb-c.h"
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fd;
static uint64_t me, parent, sequence = 1;

static int take_channel(void)
{
	static struct raw_frame f;
	const char *text = getenv("BROOD_FD");
	fd = text ? atoi(text) : -1;
	if (raw_receive_kind(fd, FRAME_BIRTH, &f, 5000) != 1)
		return -1;
	Brood__Birth *birth = brood__birth__unpack(NULL, f.head.length, f.head.body);
	if (!birth)
		return -1;
	me = birth->id;
	parent = birth->parent;
	brood__birth__free_unpacked(birth, NULL);
	return 0;
}

static void item_to_parent(uint64_t number, struct item it, const char *text)
{
	it.length = (uint32_t)strlen(text);
	if (it.total == 0)
		it.total = it.length;
	raw_send_item(fd, 0, parent, number, &it, text);
}

/* ---- for which the broker closes the connection ------------------------------------------------------------------ */

static void garbage(void)
{
	uint8_t noise[4096];
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)(i * 2654435761u >> 7);
	raw_write(fd, noise, sizeof noise);
}

static void head_only(struct frame f, uint32_t length)
{
	uint8_t head[FRAME_HEAD];
	f.length = length;
	frame_write_head(head, &f);
	raw_write(fd, head, sizeof head);
}

static void endless(void)
{
	head_only((struct frame){ .kind = FRAME_DATA, .destination = parent, .sequence = 1 }, 0xffffffffu);
}

static void no_such_kind(void)
{
	uint8_t head[FRAME_HEAD] = { FRAME_MAGIC, 0x7f };
	raw_write(fd, head, sizeof head);
}

static void from_the_broker(void)
{
	raw_send_pb(fd, FRAME_GONE,
		    &(Brood__Gone){ .base = PROTOBUF_C_MESSAGE_INIT(&brood__gone__descriptor), .id = parent }.base);
}

static void malformed(void)
{
	raw_send(fd, &(struct frame){ .kind = FRAME_REGISTER }, "\x0a\xff\xff\xff\xff", 5);
}

static void adopt_my_parent(void)
{
	Brood__Adopt adopt = BROOD__ADOPT__INIT;
	adopt.id = parent;
	adopt.uid = (uint32_t)getuid();
	raw_send_pb(fd, FRAME_ADOPT, &adopt.base);
}

/* ---- for which the parent ends the relation ---------------------------------------------------------------------- */

static void broken_item(void)
{
	static const uint8_t item[16] = { 0xff, 0xff, 0xff, 0x7f, 0, 0, ITEM_MESSAGE, 0 };
	raw_send(fd, &(struct frame){ .kind = FRAME_DATA, .destination = parent, .sequence = 1 }, item, sizeof item);
}

static void unbound_type(void)
{
	item_to_parent(1, (struct item){ .kind = ITEM_MESSAGE, .type = 5 }, "x");
}

static void endless_message(void)
{
	item_to_parent(1, (struct item){ .kind = ITEM_MESSAGE, .more = 1, .total = 1ull << 40 }, "x");
}

/* ---- harmless ---------------------------------------------------------------------------------------------------- */

static void out_of_order(void)
{
	item_to_parent(5, (struct item){ .kind = ITEM_MESSAGE }, "too early");
	item_to_parent(UINT64_MAX, (struct item){ .kind = ITEM_MESSAGE }, "much too early");
	item_to_parent(sequence++, (struct item){ .kind = ITEM_MESSAGE }, "first");
	item_to_parent(1, (struct item){ .kind = ITEM_MESSAGE }, "first again");
}

static void acknowledge_the_future(void)
{
	raw_send(fd, &(struct frame){ .kind = FRAME_ACK, .destination = parent, .acknowledge = UINT64_MAX }, NULL, 0);
	raw_send(fd, &(struct frame){ .kind = FRAME_PROBE, .destination = parent, .sequence = UINT64_MAX }, NULL, 0);
}

static void answers_to_nothing(void)
{
	item_to_parent(sequence++, (struct item){ .kind = ITEM_REPLY, .correlation = 1 }, "answer");
	item_to_parent(sequence++, (struct item){ .kind = ITEM_REPLY, .correlation = UINT64_MAX }, "answer");
	item_to_parent(sequence++, (struct item){ .kind = ITEM_FAILURE, .correlation = 77 }, "\xff\xff");
	item_to_parent(sequence++, (struct item){ .kind = ITEM_CANCEL, .correlation = 78 }, "");
}

static void to_nobody(void)
{
	raw_send_item(fd, parent, me + 1000, 1, &(struct item){ .kind = ITEM_MESSAGE }, NULL);
	raw_send_item(fd, me, 12345, 1, &(struct item){ .kind = ITEM_MESSAGE }, NULL);
}

/* It is nobody's child that the broker knows of. */
static void parent_died(void)
{
	Brood__Died died = BROOD__DIED__INIT;
	died.id = parent;
	raw_send_pb(fd, FRAME_DIED, &died.base);
}

static const struct {
	const char *name;
	void (*act)(void);
	int harmless;
} kinds[] = {
	{ "garbage", garbage, 0 },
	{ "endless", endless, 0 },
	{ "no-such-kind", no_such_kind, 0 },
	{ "from-the-broker", from_the_broker, 0 },
	{ "malformed", malformed, 0 },
	{ "adopt-my-parent", adopt_my_parent, 0 },
	{ "broken-item", broken_item, 0 },
	{ "unbound-type", unbound_type, 0 },
	{ "endless-message", endless_message, 0 },
	{ "out-of-order", out_of_order, 1 },
	{ "acknowledge-the-future", acknowledge_the_future, 1 },
	{ "answers-to-nothing", answers_to_nothing, 1 },
	{ "to-nobody", to_nobody, 1 },
	{ "parent-died", parent_died, 1 },
};

int be_hostile(char **args)
{
	if (take_channel() < 0)
		return 95;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(kinds[i].name, args[0]) != 0)
			continue;
		kinds[i].act();
		if (kinds[i].harmless)
			item_to_parent(sequence, (struct item){ .kind = ITEM_MESSAGE }, "alive");
		while (pause() < 0)
			;
	}
	fprintf(stderr, "kid: no such hostility: %s\n", args[0]);
	return 94;
}
