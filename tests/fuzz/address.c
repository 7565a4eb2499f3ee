/* Addresses, ids and names: what is accepted is written back as a text that is accepted again and means the same. */
#include "address.h"
#include "target.h"
#include <string.h>

static void try_address(const char *text)
{
	char why[200], back[200];
	struct address a, b;

	memset(why, 'w', sizeof(why));
	if (address_parse(text, &a, why, sizeof(why)) < 0) {
		must(memchr(why, 0, sizeof(why)));
		return;
	}
	address_text(&a, back, sizeof(back));
	must(address_parse(back, &b, why, sizeof(why)) == 0);
	must(a.kind == b.kind && a.length == b.length && a.loopback == b.loopback);
	must(a.port == b.port);
	must(memcmp(&a.sockaddr, &b.sockaddr, sizeof(a.sockaddr)) == 0);
}

static void try_id(const char *text)
{
	char back[ID_TEXT];
	uint64_t id;

	if (id_parse(text, &id) < 0)
		return;
	must(strcmp(id_format(id, back), text) == 0);
	must(!name_is_valid(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char text[300];

	if (n >= sizeof(text))
		return 0;
	memcpy(text, data, n);
	text[n] = '\0';
	try_address(text);
	try_id(text);
	if (name_is_valid(text))
		must(strlen(text) <= NAME_MAX_LENGTH && text[0] != '-' && text[0] != '.');
	return 0;
}
