/*
 * Disconnects a client by its client ID, which Mosquitto offers to plugins only: an MQTT 5 client gets a DISCONNECT with
 * "administrative action" (0x98), an MQTT 3.1.1 client an orderly close.
 *
 * Whoever connects as the user DeleteConnection publishes to the topic below: "1" where the client's will is to be
 * published and "0" where not, and the client ID behind it. The PUBACK comes when the client is cut off.
 */
#include <string.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#define TOPIC "$CONTROL/delete-connection/v1"
#define USER "DeleteConnection"
/* MQTT: no client ID is longer. */
#define LONGEST 65535

static mosquitto_plugin_id_t *plugin;

static int on_control(int event, void *data, void *unused)
{
	static char client_id[LONGEST + 1];
	struct mosquitto_evt_control *control = data;
	const char *request = control->payload;
	const char *user = mosquitto_client_username(control->client);
	size_t length;

	if(!user || strcmp(user, USER) || control->payloadlen < 2 || control->payloadlen > LONGEST){
		return MOSQ_ERR_INVAL;
	}
	length = control->payloadlen - 1;
	memcpy(client_id, request + 1, length);
	client_id[length] = '\0';
	mosquitto_kick_client_by_clientid(client_id, request[0] == '1');
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	int i;

	for(i = 0; i < count; i++){
		if(versions[i] == 5) return 5;
	}
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **unused, struct mosquitto_opt *options, int count)
{
	plugin = id;
	return mosquitto_callback_register(id, MOSQ_EVT_CONTROL, on_control, TOPIC, NULL);
}

int mosquitto_plugin_cleanup(void *unused, struct mosquitto_opt *options, int count)
{
	return mosquitto_callback_unregister(plugin, MOSQ_EVT_CONTROL, on_control, TOPIC);
}
