#!/bin/sh
# Starts, holds its arguments, and never answers.
while :; do sleep 0.1; done
