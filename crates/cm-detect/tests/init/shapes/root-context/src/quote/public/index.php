<?php
$app->get('/health', fn() => 'ok');
