// lookup prints a name's IPv4 addresses as the C library finds them. Linked with musl it is that
// library's resolver, which asks all nameservers at once and takes the first reply.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

int main(int argc, char **argv) {
	struct addrinfo *all, *a, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	int err = argc == 2 ? getaddrinfo(argv[1], NULL, &hints, &all) : EAI_NONAME;
	if (err) {
		fprintf(stderr, "lookup: %s\n", gai_strerror(err));
		return 1;
	}
	for (a = all; a; a = a->ai_next) {
		char text[INET_ADDRSTRLEN];
		puts(inet_ntop(AF_INET, &((struct sockaddr_in *)a->ai_addr)->sin_addr, text, sizeof text));
	}
	return 0;
}
