/*
 * Makes the disk of a program bad while it runs, and counts what the program does to it.
 *
 * The dynamic linker loads this library before the C library (LD_PRELOAD), so that the calls below
 * come here first. A table in a file says which calls to disturb, and how; whoever has the file
 * mapped may change it at any time. Only files in the directory that the table names are disturbed.
 * disk.py has the same table and explains it. The table also says by how much the wall clock is to
 * be wrong, since a log that keeps messages for a time depends on it too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Where the C library offers 64-bit names beside its own, both are taken over. */
#undef open64
#undef openat64
#undef pread64
#undef pwrite64
#undef ftruncate64
#undef fallocate64
#undef posix_fallocate64
#undef mmap64

enum { RULES = 16, FILES = 64, DESCRIPTORS = 65536, NAME = 64 };

/* The bits of calls in a rule, and the places of their counts in a file. */
enum call { OPEN, READ, WRITE, SYNC, TRUNCATE, ALLOCATE, UNLINK, MAP, RENAME, CALLS };

struct rule {
    int32_t active;
    uint32_t calls;
    int32_t error;
    int32_t hangs;
    int64_t delay_us;
    int64_t part_bytes;
    int64_t flipped_bit;
    int64_t passed;
    int64_t times;
    int64_t hits;
    int64_t waiting;
    char pattern[NAME];
};

struct file {
    char name[NAME];
    int64_t calls[CALLS];
    int64_t bytes_read;
    int64_t bytes_written;
};

struct table {
    uint64_t size;
    /* By how much the wall clock is ahead of the machine's. */
    int64_t clock_step_s;
    char directory[1024];
    struct rule rules[RULES];
    struct file files[FILES];
};

/* What happens to a call: nothing if all are zero, and -1 for the flipped bit. */
struct fate {
    int error;
    int64_t part_bytes;
    int64_t flipped_bit;
};

static struct table *table;
/* The file of each descriptor, counted from 1; 0 for files that are none of ours. */
static unsigned char file_of[DESCRIPTORS];

/* The C library's own function, which is looked for once. */
#define REAL(name)                                                                                \
    (__extension__({                                                                              \
        static __typeof__(&name) function;                                                        \
        if (function == NULL)                                                                     \
            function = (__typeof__(&name))real(#name);                                            \
        function;                                                                                 \
    }))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        fprintf(stderr, "faulty disk: the C library has no %s\n", name);
        abort();
    }
    return found;
}

__attribute__((constructor)) static void set_up(void)
{
    const char *path = getenv("FAULTY_DISK_TABLE");
    struct stat status;
    if (path == NULL)
        return;
    int descriptor = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &status) || status.st_size != sizeof *table) {
        fprintf(stderr, "faulty disk: %s is not a table of this version\n", path);
        abort();
    }
    table = REAL(mmap)(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    REAL(close)(descriptor);
    if (table == MAP_FAILED || table->size != sizeof *table) {
        fprintf(stderr, "faulty disk: %s cannot be mapped\n", path);
        abort();
    }
}

/* The name of a file within the directory ("." for the directory), or NULL if it is elsewhere. */
static const char *name_within(const char *path)
{
    size_t length = table == NULL ? 0 : strlen(table->directory);
    if (length == 0 || strncmp(path, table->directory, length) != 0)
        return NULL;
    if (path[length] == '\0')
        return ".";
    return path[length] == '/' ? path + length + 1 : NULL;
}

/* The entry of a name, which is made if it is new; NULL once the table is full. */
static struct file *file_named(const char *name)
{
    static int32_t lock;
    struct file *found = NULL;
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
        ;
    for (int n = 0; n < FILES && found == NULL; n++) {
        struct file *file = &table->files[n];
        if (file->name[0] == '\0')
            strncpy(file->name, name, NAME - 1);
        if (strncmp(file->name, name, NAME - 1) == 0)
            found = file;
    }
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    return found;
}

static struct file *file_at(int descriptor)
{
    if (table == NULL || descriptor < 0 || descriptor >= DESCRIPTORS || !file_of[descriptor])
        return NULL;
    return &table->files[file_of[descriptor] - 1];
}

/* Count a call, wait as the rules say, and return what is to happen to it. */
static struct fate meet(struct file *file, enum call call)
{
    struct fate fate = {0, 0, -1};
    if (file == NULL)
        return fate;
    __atomic_add_fetch(&file->calls[call], 1, __ATOMIC_RELAXED);
    for (int n = 0; n < RULES; n++) {
        struct rule *rule = &table->rules[n];
        if (!__atomic_load_n(&rule->active, __ATOMIC_ACQUIRE) || !(rule->calls & (1u << call)) ||
            fnmatch(rule->pattern, file->name, 0) != 0)
            continue;
        if (__atomic_sub_fetch(&rule->passed, 1, __ATOMIC_RELAXED) >= 0)
            continue;
        if (__atomic_sub_fetch(&rule->times, 1, __ATOMIC_RELAXED) < 0)
            continue;
        __atomic_add_fetch(&rule->hits, 1, __ATOMIC_RELEASE);
        __atomic_add_fetch(&rule->waiting, 1, __ATOMIC_RELEASE);
        for (int64_t us = rule->delay_us; us > 0; us -= 1000) {
            struct timespec pause = {0, (us < 1000 ? us : 1000) * 1000};
            nanosleep(&pause, NULL);
        }
        while (rule->hangs && __atomic_load_n(&rule->active, __ATOMIC_ACQUIRE)) {
            struct timespec pause = {0, 1000000};
            nanosleep(&pause, NULL);
        }
        __atomic_sub_fetch(&rule->waiting, 1, __ATOMIC_RELEASE);
        if (rule->error)
            fate.error = rule->error;
        if (rule->part_bytes)
            fate.part_bytes = rule->part_bytes;
        if (rule->flipped_bit >= 0)
            fate.flipped_bit = rule->flipped_bit;
    }
    return fate;
}

static int64_t failed(int error)
{
    errno = error;
    return -1;
}

static void flip(unsigned char *bytes, int64_t size, int64_t bit)
{
    if (size > 0 && bit >= 0)
        bytes[bit / 8 % size] ^= (unsigned char)(1u << bit % 8);
}

static int64_t counted(int64_t size, int64_t *count)
{
    if (size > 0)
        __atomic_add_fetch(count, size, __ATOMIC_RELAXED);
    return size;
}

/* Files */

static int opened(int descriptor)
{
    char link[64], path[PATH_MAX];
    if (descriptor < 0 || descriptor >= DESCRIPTORS || table == NULL)
        return descriptor;
    file_of[descriptor] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return descriptor;
    path[length] = '\0';
    const char *name = name_within(path);
    struct file *file = name == NULL ? NULL : file_named(name);
    if (file != NULL)
        file_of[descriptor] = (unsigned char)(file - table->files + 1);
    return descriptor;
}

/* What happens to a call that names its file. */
static struct fate meet_path(const char *path, enum call call)
{
    const char *name = name_within(path);
    return meet(name == NULL ? NULL : file_named(name), call);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN_AS(name)                                                                             \
    int name(const char *path, int flags, ...)                                                    \
    {                                                                                             \
        va_list arguments;                                                                        \
        va_start(arguments, flags);                                                               \
        mode_t mode = mode_of(flags, arguments);                                                  \
        va_end(arguments);                                                                        \
        struct fate fate = meet_path(path, OPEN);                                                 \
        return fate.error ? (int)failed(fate.error) : opened(REAL(name)(path, flags, mode));      \
    }
OPEN_AS(open)
OPEN_AS(open64)

#define OPENAT_AS(name)                                                                           \
    int name(int directory, const char *path, int flags, ...)                                     \
    {                                                                                             \
        va_list arguments;                                                                        \
        va_start(arguments, flags);                                                               \
        mode_t mode = mode_of(flags, arguments);                                                  \
        va_end(arguments);                                                                        \
        struct fate fate = meet_path(path, OPEN);                                                 \
        return fate.error ? (int)failed(fate.error)                                               \
                          : opened(REAL(name)(directory, path, flags, mode));                     \
    }
OPENAT_AS(openat)
OPENAT_AS(openat64)

int close(int descriptor)
{
    if (descriptor >= 0 && descriptor < DESCRIPTORS)
        file_of[descriptor] = 0;
    return REAL(close)(descriptor);
}

int unlink(const char *path)
{
    struct fate fate = meet_path(path, UNLINK);
    return fate.error ? (int)failed(fate.error) : REAL(unlink)(path);
}

int rename(const char *from, const char *to)
{
    struct fate fate = meet_path(to, RENAME);
    return fate.error ? (int)failed(fate.error) : REAL(rename)(from, to);
}

/* What is in them */

#define READ_WITH(parameters, arguments, function)                                                \
    ssize_t function parameters                                                                   \
    {                                                                                             \
        struct file *file = file_at(descriptor);                                                  \
        struct fate fate = meet(file, READ);                                                      \
        if (fate.error)                                                                           \
            return failed(fate.error);                                                            \
        if (fate.part_bytes && (int64_t)size > fate.part_bytes)                                   \
            size = (size_t)fate.part_bytes;                                                       \
        ssize_t done = REAL(function) arguments;                                                  \
        flip(bytes, done, fate.flipped_bit);                                                      \
        return file == NULL ? done : counted(done, &file->bytes_read);                            \
    }
READ_WITH((int descriptor, void *bytes, size_t size), (descriptor, bytes, size), read)
READ_WITH((int descriptor, void *bytes, size_t size, off_t at), (descriptor, bytes, size, at),
          pread)
READ_WITH((int descriptor, void *bytes, size_t size, off64_t at), (descriptor, bytes, size, at),
          pread64)

/* A write that fails after a part of its bytes is torn; one that only has a part is short. */
#define WRITE_WITH(parameters, arguments, function)                                               \
    ssize_t function parameters                                                                   \
    {                                                                                             \
        struct file *file = file_at(descriptor);                                                  \
        struct fate fate = meet(file, WRITE);                                                     \
        if (fate.error && !fate.part_bytes)                                                       \
            return failed(fate.error);                                                            \
        if (fate.part_bytes && (int64_t)size > fate.part_bytes)                                   \
            size = (size_t)fate.part_bytes;                                                       \
        unsigned char *changed = fate.flipped_bit < 0 ? NULL : malloc(size);                      \
        if (changed != NULL) {                                                                    \
            bytes = memcpy(changed, bytes, size);                                                 \
            flip(changed, (int64_t)size, fate.flipped_bit);                                       \
        }                                                                                         \
        ssize_t done = REAL(function) arguments;                                                  \
        free(changed);                                                                            \
        if (file != NULL)                                                                         \
            counted(done, &file->bytes_written);                                                  \
        return fate.error ? failed(fate.error) : done;                                            \
    }
WRITE_WITH((int descriptor, const void *bytes, size_t size), (descriptor, bytes, size), write)
WRITE_WITH((int descriptor, const void *bytes, size_t size, off_t at),
           (descriptor, bytes, size, at), pwrite)
WRITE_WITH((int descriptor, const void *bytes, size_t size, off64_t at),
           (descriptor, bytes, size, at), pwrite64)

/* Calls on a descriptor that only succeed or fail. */
#define CALL_WITH(call, type, parameters, arguments, function, failure)                           \
    type function parameters                                                                      \
    {                                                                                             \
        struct fate fate = meet(file_at(descriptor), call);                                       \
        return fate.error ? (type)(failure) : REAL(function) arguments;                           \
    }
CALL_WITH(SYNC, int, (int descriptor), (descriptor), fsync, failed(fate.error))
CALL_WITH(SYNC, int, (int descriptor), (descriptor), fdatasync, failed(fate.error))
CALL_WITH(TRUNCATE, int, (int descriptor, off_t size), (descriptor, size), ftruncate,
          failed(fate.error))
CALL_WITH(TRUNCATE, int, (int descriptor, off64_t size), (descriptor, size), ftruncate64,
          failed(fate.error))
CALL_WITH(ALLOCATE, int, (int descriptor, int mode, off_t at, off_t size),
          (descriptor, mode, at, size), fallocate, failed(fate.error))
CALL_WITH(ALLOCATE, int, (int descriptor, int mode, off64_t at, off64_t size),
          (descriptor, mode, at, size), fallocate64, failed(fate.error))
/* These two return the error. */
CALL_WITH(ALLOCATE, int, (int descriptor, off_t at, off_t size), (descriptor, at, size),
          posix_fallocate, fate.error)
CALL_WITH(ALLOCATE, int, (int descriptor, off64_t at, off64_t size), (descriptor, at, size),
          posix_fallocate64, fate.error)

#define MAP_AS(name, type)                                                                        \
    void *name(void *address, size_t size, int protection, int flags, int descriptor, type at)    \
    {                                                                                             \
        struct fate fate = meet(file_at(descriptor), MAP);                                        \
        if (fate.error) {                                                                         \
            errno = fate.error;                                                                   \
            return MAP_FAILED;                                                                    \
        }                                                                                         \
        return REAL(name)(address, size, protection, flags, descriptor, at);                      \
    }
MAP_AS(mmap, off_t)
MAP_AS(mmap64, off64_t)

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && table != NULL)
        now->tv_sec += table->clock_step_s;
    return result;
}
