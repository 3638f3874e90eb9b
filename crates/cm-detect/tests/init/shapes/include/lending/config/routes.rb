get '/up', to: 'health#show'
