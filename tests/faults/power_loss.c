/* A disk that forgets: under POWER_LOSS_LIVE everything is lost but what was synced, which POWER_LOSS_SHADOW keeps.
 *
 * Loaded before libc (LD_PRELOAD). The model is POSIX's own, harsher than any journaling file system:
 * - the content of a file is what it was as its last fsync or fdatasync began; never synced, it is empty;
 * - a name (made, renamed, unlinked) is what it was as the last fsync of its folder began. ext4 and XFS would make the
 *   name of a new file durable with the file's own first fsync; here only the folder's fsync does.
 * - a folder is there if its own name is, up to the root.
 * A disk may also write what nobody has asked for: the harness mixes random pages of the lost state in, and so does a
 * kill in the midst of a copy. What is not modelled is not used by the server: O_DSYNC, msync, sync_file_range, sync,
 * and renamed folders. Files are told apart by inode and time of birth, since inodes are used again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG 4400
#define BLOCK 65536

static void name_of(const struct statx *found, char *key) {
    snprintf(key, 64, "%llu-%lld-%u", (unsigned long long)found->stx_ino, (long long)found->stx_btime.tv_sec,
             found->stx_btime.tv_nsec);
}

static void give_up(const char *what) {
    fprintf(stderr, "power_loss: %s: %s\n", what, strerror(errno));
    abort(); /* a shadow with holes of our own making would blame the server */
}

static void write_all(int out, const char *bytes, ssize_t size, off_t at) {
    while (size > 0) {
        ssize_t written = pwrite(out, bytes, size, at);
        if (written <= 0) give_up("pwrite");
        bytes += written, at += written, size -= written;
    }
}

static void keep_content(int fd, const char *shadow, const struct statx *found) {
    static __thread char here[BLOCK], there[BLOCK];
    char key[64], path[LONG];
    name_of(found, key);
    snprintf(path, sizeof path, "%s/files/%s", shadow, key);
    int in = fd, out = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (out < 0) give_up(path);
    /* Another descriptor only where this one can't be read: closing it would drop the locks that SQLite holds. */
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        in = open(link, O_RDONLY | O_CLOEXEC);
        if (in < 0) give_up(link);
    }
    off_t at = 0;
    ssize_t size;
    while ((size = pread(in, here, BLOCK, at)) > 0) {
        if (pread(out, there, BLOCK, at) < size || memcmp(here, there, size)) write_all(out, here, size, at);
        at += size;
    }
    if (size < 0 || ftruncate(out, at)) give_up("copy");
    if (in != fd) close(in);
    close(out);
}

static void keep_names(const char *folder, const char *relative, const char *shadow) {
    char path[LONG], fresh[LONG + 32];
    size_t start = snprintf(path, sizeof path, "%s/folders/", shadow);
    snprintf(path + start, sizeof path - start, "%%%s", relative);
    for (char *letter = path + start; *letter; letter++)
        if (*letter == '/') *letter = '%';
    snprintf(fresh, sizeof fresh, "%s.%d-%lx", path, getpid(), (unsigned long)&fresh);
    FILE *out = fopen(fresh, "we");
    DIR *names = opendir(folder);
    if (!out || !names) give_up(folder);
    struct dirent *entry;
    while ((entry = readdir(names))) {
        struct statx found;
        char key[64];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (statx(dirfd(names), entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &found)) continue;
        name_of(&found, key);
        fprintf(out, "%c %s %s\n", S_ISDIR(found.stx_mode) ? 'd' : 'f', key, entry->d_name);
    }
    closedir(names);
    if (fclose(out) || rename(fresh, path)) give_up(path);
}

static void keep(int fd) {
    const char *live = getenv("POWER_LOSS_LIVE"), *shadow = getenv("POWER_LOSS_SHADOW");
    char link[64], path[LONG];
    struct statx found;
    if (!live || !shadow) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    size_t root = strlen(live);
    if (size < 0) return;
    path[size] = 0;
    if (strncmp(path, live, root) || (path[root] != '/' && path[root] != 0)) return;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &found)) give_up(path);
    if (S_ISREG(found.stx_mode)) keep_content(fd, shadow, &found);
    if (S_ISDIR(found.stx_mode)) keep_names(path, path + root, shadow);
}

/* The real disk is left alone: it would make the test slow, and nothing is looked up there afterwards. */
int fsync(int fd) {
    int before = errno;
    keep(fd);
    errno = before;
    return 0;
}

int fdatasync(int fd) { return fsync(fd); }
