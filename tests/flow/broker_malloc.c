/*
 * broker_malloc: relaying costs no allocation. The broker runs with an allocation counter preloaded; after a warm-up,
 * thousands of frames in several patterns must not move it. Greetings must: so it counts.
 */
#include "wire.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CLIENTS 8

static struct wire_broker broker;
static const volatile uint64_t *count;
static struct wire clients[CLIENTS];
static uint64_t sequence;

static void take(unsigned who, unsigned n)
{
	for (; n > 0; n--)
		wire_expect(&clients[who], FRAME_DATA);
}

/* From one to one, to and fro. */
static void ping_pong(void)
{
	for (int i = 0; i < 200; i++) {
		wire_data(&clients[0], clients[1].id, ++sequence, "ping");
		take(1, 1);
		wire_data(&clients[1], clients[0].id, sequence, "pong");
		take(0, 1);
	}
}

/* From one to all in turn, and back. */
static void pool(void)
{
	for (int i = 0; i < 50; i++) {
		for (unsigned k = 1; k < CLIENTS; k++)
			wire_data(&clients[0], clients[k].id, ++sequence, "job");
		for (unsigned k = 1; k < CLIENTS; k++) {
			take(k, 1);
			wire_data(&clients[k], clients[0].id, sequence, "done");
		}
		take(0, CLIENTS - 1);
	}
}

/* As one write: a helping of many frames. */
static void burst(void)
{
	static uint8_t bytes[200 * (FRAME_HEAD + 64)];
	struct frame head = { .kind = FRAME_DATA, .length = 64 };

	for (unsigned i = 0; i < 200; i++) {
		head.destination = clients[1 + i % 2].id;
		head.sequence = ++sequence;
		frame_write_head(bytes + i * (FRAME_HEAD + 64), &head);
	}
	wire_raw(&clients[0], bytes, sizeof(bytes));
	take(1, 100);
	take(2, 100);
}

static void assert_free_of_charge(void (*pattern)(void))
{
	uint64_t before;

	for (int i = 0; i < 5; i++)
		pattern();
	before = *count;
	for (int i = 0; i < 20; i++)
		pattern();
	assert_int_equal(*count - before, 0);
}

static void test_it_counts(void **state)
{
	uint64_t before = *count;
	struct wire w;

	(void)state;
	wire_open(&w, &broker, 0);
	wire_leave(&w);
	assert_in_range(*count - before, 2, 50);
}

static void test_ping_pong(void **state)
{
	(void)state;
	assert_free_of_charge(ping_pong);
}

static void test_pool(void **state)
{
	(void)state;
	assert_free_of_charge(pool);
}

static void test_burst(void **state)
{
	(void)state;
	assert_free_of_charge(burst);
}

static int begin(void **state)
{
	char path[96];
	int fd;

	(void)state;
	wire_broker_init(&broker);
	snprintf(path, sizeof(path), "%s/count", broker.dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 8) < 0)
		return -1;
	count = mmap(NULL, sizeof(*count), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	setenv("COUNT_MALLOC", path, 1);
	setenv("LD_PRELOAD", getenv("COUNT_MALLOC_LIBRARY"), 1);
	wire_broker_start(&broker, NULL);
	unsetenv("LD_PRELOAD");
	for (unsigned i = 0; i < CLIENTS; i++)
		wire_open(&clients[i], &broker, 0);
	return count == MAP_FAILED ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++)
		wire_leave(&clients[i]);
	wire_broker_deinit(&broker);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_counts),
		cmocka_unit_test(test_ping_pong),
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_burst),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
