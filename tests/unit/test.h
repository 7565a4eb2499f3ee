/*
 * test: what every unit test includes: cmocka and its four headers, in the order it wants them.
 */
#ifndef BROOD_TEST_H
#define BROOD_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
