/*
 * consume: a user's program. Started by hand it starts itself as a child, asks it something and waits for its end; as a
 * child it answers. It has a function dial() of its own, which must not collide with one inside libbrood.a.
 */
#include <brood.h>
#include <stdio.h>

int dial(void);

int dial(void)
{
	return 1;
}

static int asked(const brood_event *event)
{
	return brood_reply(event->msg, BROOD_TEXT("pong"));
}

static int child(brood *b)
{
	brood_on(brood_parent(b), BROOD_ON(.message = asked), NULL);
	return brood_run(b) < 0;
}

static int failed(brood *b, const char *what)
{
	const struct brood_error *error = brood_last_error(b);
	fprintf(stderr, "consume: cannot %s: %s %s\n", what, error->text, error->hint);
	return 1;
}

static int parent(brood *b, const char *me)
{
	brood_peer *kid;
	brood_msg *answer;
	struct brood_peer_info info;
	BROOD_INIT(info);
	if (brood_spawn(b, &kid, BROOD_ARGV(me), NULL) < 0)
		return failed(b, "start myself");
	if (brood_call(kid, BROOD_TEXT("ping"), 10000, &answer) < 0)
		return failed(b, "ask my child");
	printf("my child says %s\n", answer->text);
	brood_msg_release(answer);
	if (brood_disconnect(kid) < 0 || brood_wait(kid, 10000) < 0 || brood_info(kid, &info) < 0)
		return failed(b, "see my child end");
	printf("%s\n", info.exit->text);
	return info.exit->cause == BROOD_EXITED ? info.exit->code : 1;
}

int main(int argc, char **argv)
{
	brood *b;
	if (argc < 1 || dial() != 1 || brood_connect(&b, NULL, NULL) < 0)
		return 1;
	int rc = brood_parent(b) ? child(b) : parent(b, argv[0]);
	brood_close(b);
	return rc;
}
