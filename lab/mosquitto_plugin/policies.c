/*
 * Evaluates AWS IoT Core policies, from the file that lab/aws_api/device_policies.py writes and describes, and counts
 * subscriptions against the account's quota.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "policies.h"

/* No byte of UTF-8: what stands for a wildcard, and around a variable's name. */
#define ANY '\xf8'
#define ONE '\xf9'
#define VARIABLE '\xfa'
#define LONGEST 65536

struct statement {
	bool deny;
	const char *actions;
	const char *when;
	const char *resource;
};

struct thing {
	const char *name;
	/* Pairs of a variable's name and its value. */
	char **variables;
	int count;
};

struct policy {
	int first, count;
};

struct certificate {
	const char *id;
	/* The numbers of its policies, as text. */
	char **policies;
	int count;
	int first_thing, things;
};

/* Whether a file is as it was when it was read. */
struct seen {
	struct timespec changed;
	ino_t inode;
	off_t size;
};

static struct {
	char *text;
	const char *arn;
	char **fields;
	struct statement *statements;
	struct policy *policies;
	struct certificate *certificates;
	struct thing *things;
	int field_count, statement_count, policy_count, certificate_count, thing_count;
} known;

static bool is_new(const char *path, struct seen *seen)
{
	struct stat found;

	if(stat(path, &found)) return false;
	if(found.st_ino == seen->inode && found.st_size == seen->size && found.st_mtim.tv_sec == seen->changed.tv_sec
			&& found.st_mtim.tv_nsec == seen->changed.tv_nsec){
		return false;
	}
	seen->inode = found.st_ino;
	seen->size = found.st_size;
	seen->changed = found.st_mtim;
	return true;
}

static char *read_file(const char *path)
{
	FILE *stream = fopen(path, "rb");
	char *text;
	long length;

	if(!stream) return NULL;
	fseek(stream, 0, SEEK_END);
	length = ftell(stream);
	rewind(stream);
	text = malloc(length + 1);
	length = (long)fread(text, 1, length, stream);
	text[length] = '\0';
	fclose(stream);
	return text;
}

static int hexadecimal(char digit)
{
	return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
}

/* Decodes a field where it is, up to a tab or the line's end, and returns what follows; NULL at the line's end. */
static char *decode(char *field)
{
	char *from = field, *to = field;
	char end;

	while(*from && *from != '\t' && *from != '\n'){
		if(from[0] == '%' && from[1] && from[2]){
			*to++ = (char)(hexadecimal(from[1]) << 4 | hexadecimal(from[2]));
			from += 3;
		}else if(*from == '*'){
			*to++ = ANY;
			from++;
		}else if(*from == '?'){
			*to++ = ONE;
			from++;
		}else if(from[0] == '$' && from[1] == '{'){
			*to++ = VARIABLE;
			from += 2;
		}else if(*from == '}'){
			*to++ = VARIABLE;
			from++;
		}else{
			*to++ = *from++;
		}
	}
	end = *from;
	*to = '\0';
	return end == '\t' ? from + 1 : NULL;
}

static int count(const char *text, char wanted)
{
	int found = 0;

	for(; *text; text++) found += *text == wanted;
	return found;
}

static void take_line(char *line)
{
	char **fields = known.fields + known.field_count;
	int number = 0;

	while(line){
		char *next;

		fields[number++] = line;
		next = decode(line);
		line = next;
	}
	known.field_count += number;
	if(!strcmp(fields[0], "arn") && number == 2){
		known.arn = fields[1];
	}else if(!strcmp(fields[0], "policy")){
		struct policy *policy = known.policies + known.policy_count++;

		policy->first = known.statement_count;
		policy->count = 0;
	}else if((!strcmp(fields[0], "allow") || !strcmp(fields[0], "deny")) && number == 4 && known.policy_count){
		struct statement *statement = known.statements + known.statement_count++;

		statement->deny = fields[0][0] == 'd';
		statement->actions = fields[1];
		statement->when = fields[2];
		statement->resource = fields[3];
		known.policies[known.policy_count - 1].count++;
	}else if(!strcmp(fields[0], "certificate") && number >= 2){
		struct certificate *certificate = known.certificates + known.certificate_count++;

		certificate->id = fields[1];
		certificate->policies = fields + 2;
		certificate->count = number - 2;
		certificate->first_thing = known.thing_count;
		certificate->things = 0;
	}else if(!strcmp(fields[0], "thing") && number >= 2 && known.certificate_count){
		struct thing *thing = known.things + known.thing_count++;

		thing->name = fields[1];
		thing->variables = fields + 2;
		thing->count = (number - 2) / 2;
		known.certificates[known.certificate_count - 1].things++;
	}
}

void policies_refresh(const char *path)
{
	static struct seen seen;
	char *line, *text;
	int lines;

	if(!is_new(path, &seen) || !(text = read_file(path))) return;
	free(known.text);
	free(known.fields);
	free(known.statements);
	free(known.policies);
	free(known.certificates);
	free(known.things);
	memset(&known, 0, sizeof(known));
	lines = count(text, '\n') + 1;
	known.text = text;
	known.fields = calloc(lines + count(text, '\t'), sizeof(char *));
	known.statements = calloc(lines, sizeof(struct statement));
	known.policies = calloc(lines, sizeof(struct policy));
	known.certificates = calloc(lines, sizeof(struct certificate));
	known.things = calloc(lines, sizeof(struct thing));
	for(line = text; *line;){
		char *end = strchr(line, '\n');
		char *next = end ? end + 1 : line + strlen(line);

		take_line(line);
		line = next;
	}
}

static int compare_certificate(const void *id, const void *certificate)
{
	return strcmp(id, ((const struct certificate *)certificate)->id);
}

static int compare_thing(const void *name, const void *thing)
{
	return strcmp(name, ((const struct thing *)thing)->name);
}

/* The value of a policy variable; NULL where the connection has none. */
static const char *value(const char *name, size_t length, const char *client_id, const struct thing *thing)
{
	int i;

	if(length == strlen("iot:ClientId") && !strncmp(name, "iot:ClientId", length)) return client_id;
	if(!thing) return NULL;
	if(length == strlen("iot:Connection.Thing.ThingName") && !strncmp(name, "iot:Connection.Thing.ThingName", length)){
		return thing->name;
	}
	for(i = 0; i < thing->count; i++){
		if(strlen(thing->variables[2 * i]) == length && !strncmp(thing->variables[2 * i], name, length)){
			return thing->variables[2 * i + 1];
		}
	}
	return NULL;
}

/* Puts values in the place of variables; false where one has none, or all is too long for any resource. */
static bool expand(char *to, const char *resource, const char *client_id, const struct thing *thing)
{
	size_t length = 0;

	while(*resource){
		const char *added = resource, *end = resource + 1;
		size_t size = 1;

		if(*resource == VARIABLE){
			end = strchr(resource + 1, VARIABLE);
			if(!end) return false;
			added = value(resource + 1, end - resource - 1, client_id, thing);
			if(!added) return false;
			size = strlen(added);
			end++;
		}
		if(length + size >= LONGEST) return false;
		memcpy(to + length, added, size);
		length += size;
		resource = end;
	}
	to[length] = '\0';
	return true;
}

static const char *after_character(const char *text)
{
	do text++; while((*text & 0xc0) == 0x80);
	return text;
}

static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *from = NULL;

	while(*text){
		if(*pattern == ANY){
			star = ++pattern;
			from = text;
		}else if(*pattern == ONE){
			pattern++;
			text = after_character(text);
		}else if(*pattern == *text){
			pattern++;
			text++;
		}else if(star){
			pattern = star;
			text = ++from;
		}else{
			return false;
		}
	}
	while(*pattern == ANY) pattern++;
	return !*pattern;
}

bool policies_allow(const struct principal *principal, char action, const char *type, const char *name)
{
	static char asked[2 * LONGEST], pattern[LONGEST];
	const struct certificate *certificate;
	const struct thing *thing;
	bool allowed = false;
	int i, j, kind;

	if(!known.arn || strlen(known.arn) + strlen(type) + strlen(name) + 2 > sizeof(asked)) return false;
	sprintf(asked, "%s%s/%s", known.arn, type, name);
	certificate = bsearch(principal->certificate, known.certificates, known.certificate_count,
			sizeof(struct certificate), compare_certificate);
	if(!certificate) return false;
	thing = bsearch(principal->client_id, known.things + certificate->first_thing, certificate->things,
			sizeof(struct thing), compare_thing);
	kind = (thing ? 4 : 0) + (principal->persistent ? 2 : 0) + (principal->will_topic ? 1 : 0);
	for(i = 0; i < certificate->count; i++){
		const struct policy *policy = known.policies + atoi(certificate->policies[i]);

		for(j = policy->first; j < policy->first + policy->count; j++){
			const struct statement *statement = known.statements + j;

			if(!strchr(statement->actions, action) || statement->when[kind] != '1') continue;
			if(!expand(pattern, statement->resource, principal->client_id, thing)) continue;
			if(!matches(pattern, asked)) continue;
			if(statement->deny) return false;
			allowed = true;
		}
	}
	return allowed;
}

bool parse_user(struct principal *principal, const char *client_id, const char *user)
{
	int seconds, read = 0;

	memset(principal, 0, sizeof(*principal));
	if(!client_id || !user || sscanf(user, "%128[0-9a-f] %d %n", principal->certificate, &seconds, &read) != 2 || !read){
		return false;
	}
	principal->client_id = client_id;
	principal->persistent = seconds > 0;
	if(user[read] == 'w' || user[read] == 'r'){
		principal->will_topic = user + read + 1;
		principal->will_retained = user[read] == 'r';
	}
	return true;
}

/* A token bucket that holds one second's worth, as the stand-in's other quotas. */
bool quota_allows_subscription(const char *path)
{
	static struct seen seen;
	static double rate = 0, tokens = 0, updated = 0;
	struct timespec clock;
	double now, capacity;
	char *text, *line;

	if(is_new(path, &seen) && (text = read_file(path))){
		double before = rate;

		line = strstr(text, "Subscribe ");
		rate = line ? atof(line + strlen("Subscribe ")) : 0;
		free(text);
		if(!before) tokens = rate;
	}
	clock_gettime(CLOCK_MONOTONIC, &clock);
	now = clock.tv_sec + clock.tv_nsec / 1e9;
	capacity = rate < 1 ? 1 : rate;
	tokens += (now - updated) * rate;
	if(tokens > capacity) tokens = capacity;
	updated = now;
	if(tokens < 1) return false;
	tokens -= 1;
	return true;
}
