# The private broker, which starts itself, how brokers end under load, and how many connections one bears.
library_flow(private)
library_flow(limits)
library_flow(trusted)
