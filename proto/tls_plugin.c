/*
 * tls_plugin: the one symbol of libbrood-tls.so.0. See tls.h and tls_load.h.
 */
#include "certify.h"
#include "resolve.h"
#include "tls_load.h"

__attribute__((visibility("default"))) extern const struct tls_api brood_tls_api;

const struct tls_api brood_tls_api = {
	.version = BROOD_VERSION,
	.client = tls_client,
	.server = tls_server,
	.context_free = tls_context_free,
	.accept = tls_accept,
	.connect = tls_connect,
	.is_up = tls_is_up,
	.failure = tls_failure,
	.resolve_begin = resolve_begin,
	.resolve_fd = resolve_fd,
	.resolve_answer = resolve_answer,
	.resolve_free = resolve_free,
	.make_ca = certify_ca,
	.certify = certify,
	.revoke = certify_revoke,
	.show = certify_show,
};
