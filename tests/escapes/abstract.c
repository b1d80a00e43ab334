/* A Unix socket in the abstract name space: abstract listen NAME, abstract connect NAME. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 3 || strlen(argv[2]) > 90) return 2;
    strcpy(address.sun_path + 1, argv[2]);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[2]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (strcmp(argv[1], "listen") == 0) {
        if (bind(fd, (void *)&address, length) != 0 || listen(fd, 5) != 0) return 1;
        puts("listening");
        fflush(stdout);
        pause();
    }
    if (connect(fd, (void *)&address, length) != 0) return 1;
    puts("CONNECTED");
    return 0;
}
