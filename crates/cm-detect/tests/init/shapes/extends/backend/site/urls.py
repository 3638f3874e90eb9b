urlpatterns = [path("health/", health), path("ready", ready)]
HEALTH = '/health'
