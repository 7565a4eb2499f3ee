#!/bin/sh
# Answers each line by another: the number's square.
while read -r n; do
	echo $((n * n))
done
