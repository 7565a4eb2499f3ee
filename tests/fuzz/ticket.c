/* Tickets. The first byte chooses: the rest as a ticket, or a genuine one with the rest laid over it. */
#include "ticket.h"
#include "target.h"
#include <string.h>

static const uint8_t key[TICKET_KEY] = "a key that only the broker knows";

static void mint(const struct ticket *t, uint8_t bytes[TICKET_SIZE])
{
	uint8_t block_key[TICKET_KEY];

	ticket_block_key(key, t->first, block_key);
	ticket_mint(block_key, t, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct ticket t = { .id = 7, .parent = 2, .first = 5, .uid = 1000 };
	uint8_t bytes[TICKET_SIZE], again[TICKET_SIZE];
	size_t i;

	if (n == 0)
		return 0;
	if (ticket_check(key, data + 1, n - 1, &t)) {
		mint(&t, again);
		must(memcmp(again, data + 1, TICKET_SIZE) == 0);
	}
	mint(&t, bytes);
	memcpy(again, bytes, sizeof(again));
	for (i = 1; i < n && i <= TICKET_SIZE; i++)
		bytes[(data[0] + i) % TICKET_SIZE] ^= data[i];
	must(ticket_check(key, bytes, sizeof(bytes), &t) == (memcmp(bytes, again, sizeof(bytes)) == 0));
	return 0;
}
