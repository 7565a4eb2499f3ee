/* Control bodies: the first byte chooses the message, the rest is its body. What is accepted can be packed and freed.
 */
#include "guard.h"
#include "schema.h"
#include "target.h"
#include "utf8.h"
#include <string.h>

static unsigned n_messages(void)
{
	unsigned n = 0;

	while (schema_messages[n])
		n++;
	return n;
}

static void check_strings(const ProtobufCMessage *message)
{
	unsigned i;

	for (i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const char *text;

		if (field->type != PROTOBUF_C_TYPE_STRING || field->label == PROTOBUF_C_LABEL_REPEATED)
			continue;
		memcpy(&text, (const uint8_t *)message + field->offset, sizeof(text));
		must(utf8_is_text((const uint8_t *)text, strlen(text)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const ProtobufCMessageDescriptor *type;
	ProtobufCMessage *message;
	uint8_t *packed;
	size_t size;
	int scanned;

	if (n == 0)
		return 0;
	type = schema_messages[data[0] % n_messages()];
	scanned = guard_scan(type, data + 1, n - 1);
	if (guard_unpack(type, data + 1, n - 1, 1, &message) < 0)
		return 0;
	must(scanned == 0);
	check_strings(message);
	size = protobuf_c_message_get_packed_size(message);
	packed = malloc(size + 1);
	must(packed != NULL);
	must(protobuf_c_message_pack(message, packed) == size);
	free(packed);
	guard_free(message);
	return 0;
}
